# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.inferers import Inferer

from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer, StochasticCode, like_input, plain
from monai_diffae.semantics import AttributeDirections

__all__ = ["ManipulationInferer"]


class ManipulationInferer(Inferer):
    """Strengthens or weakens an attribute of images and keeps the rest: z_sem is moved, x_T is kept.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.2.

    Args:
        inferer: the loops, with their numbers of steps.
        attributes: the directions.
        attribute: name of the one to move along.
        amount: how far (:meth:`~monai_diffae.semantics.AttributeDirections.move`); one number, or several for a series.
        x_T: ``encode``, ``random`` or ``zeros``.
        seed: of the random x_T, see :class:`~monai_diffae.inferers.autoencoding.StochasticCode`.

    Raises:
        ValueError: for an unknown attribute or ``x_T``.
    """

    def __init__(
        self,
        inferer: DiffusionAutoencoderInferer,
        attributes: AttributeDirections,
        attribute: str,
        amount: float | Sequence[float],
        x_T: str = "encode",
        seed: int = 0,
    ) -> None:
        attributes.index(attribute)
        self.inferer = inferer
        self.attributes = attributes
        self.attribute = attribute
        self.amount = amount
        self.stochastic_code = StochasticCode(x_T, seed)

    @torch.no_grad()
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: images in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.

        Returns:
            ``z_sem`` ``(B, D)``; ``score`` ``(B,)``, the attribute's logit before the edit; ``reconstruction``, shape
            of ``inputs``; ``edit`` and ``difference`` (edit minus reconstruction), shape of ``inputs``, or
            ``(B, N, C, *spatial)`` for N amounts.
        """
        images = plain(inputs)
        z_sem = network.encode(images)
        x_T = self.stochastic_code(images, network, z_sem, self.inferer)
        reconstruction = self.inferer.decode(z_sem, x_T, network)
        attributes = self.attributes.to(images.device)
        several = isinstance(self.amount, Sequence)
        edits = [
            self.inferer.decode(attributes.move(z_sem, self.attribute, amount), x_T, network)
            for amount in (self.amount if several else [self.amount])
        ]
        edit = torch.stack(edits, dim=1) if several else edits[0]
        difference = edit - (reconstruction[:, None] if several else reconstruction)
        images_out = {"reconstruction": reconstruction, "edit": edit, "difference": difference}
        score = attributes.scores(z_sem)[:, attributes.index(self.attribute)]
        return {"z_sem": z_sem, "score": score} | {key: like_input(x, inputs) for key, x in images_out.items()}

    def __call__(self, inputs: torch.Tensor, network: Callable) -> torch.Tensor:  # type: ignore[override]
        """The edit of :meth:`predict`."""
        return self.predict(inputs, network)["edit"]
