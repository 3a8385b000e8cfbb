# SPDX-License-Identifier: Apache-2.0
"""Inferers that change z_sem, or x_T, between encoding and decoding.

Each is called ``(inputs, network)`` and returns images with the metadata of ``inputs``, so that MONAI's evaluators run
it; ``predict`` returns all that was computed on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.inferers import Inferer

from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer, StochasticCode, like_input, plain
from monai_diffae.semantics import AttributeDirections, lerp, slerp

__all__ = ["InterpolationInferer", "ManipulationInferer", "VariationInferer"]


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


class InterpolationInferer(Inferer):
    """From one image to another: z_sem along a straight line, x_T along a great circle.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.1.

    Args:
        inferer: the loops, with their numbers of steps.
        num_points: images of the line, both ends included, 2 or more.
        x_T: ``encode``, or ``random`` or ``zeros`` for one x_T that the whole line shares.
        seed: of the random x_T, see :class:`~monai_diffae.inferers.autoencoding.StochasticCode`.

    Raises:
        ValueError: for fewer than two points or an unknown ``x_T``.
    """

    def __init__(
        self, inferer: DiffusionAutoencoderInferer, num_points: int = 7, x_T: str = "encode", seed: int = 0
    ) -> None:
        if num_points < 2:
            raise ValueError(f"num_points must be 2 or more, got {num_points}.")
        self.inferer = inferer
        self.num_points = num_points
        self.stochastic_code = StochasticCode(x_T, seed)

    @torch.no_grad()
    def predict(self, inputs: torch.Tensor, network: Callable, inputs_to: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: first images in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.
            inputs_to: last images, same shape (MONAI's ``PrepareBatchExtraInput`` hands them over by keyword).

        Returns:
            ``z_sem`` ``(B, D)`` of the first images; ``interpolation``, shape ``(B, num_points, C, *spatial)``.

        Raises:
            ValueError: if the shapes differ.
        """
        if inputs.shape != inputs_to.shape:
            raise ValueError(f"The images must have one shape, got {list(inputs.shape)} and {list(inputs_to.shape)}.")
        ends = [plain(inputs), plain(inputs_to)]
        z_from, z_to = (network.encode(images) for images in ends)
        x_T_from, x_T_to = (
            self.stochastic_code(images, network, z_sem, self.inferer) for images, z_sem in zip(ends, (z_from, z_to))
        )
        points = [
            self.inferer.decode(lerp(z_from, z_to, weight), slerp(x_T_from, x_T_to, weight), network)
            for weight in torch.linspace(0, 1, self.num_points).tolist()
        ]
        return {"z_sem": z_from, "interpolation": like_input(torch.stack(points, dim=1), inputs)}

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: Callable, inputs_to: torch.Tensor
    ) -> torch.Tensor:
        """The interpolation of :meth:`predict`."""
        return self.predict(inputs, network, inputs_to)["interpolation"]


class VariationInferer(Inferer):
    """One z_sem, many x_T: what an image's semantic code leaves open.

    Args:
        inferer: the loops; only decoding is used.
        num_variations: 1 or more. The k-th uses the k-th x_T of the seed, the same one for every image.
        seed: see :class:`~monai_diffae.inferers.autoencoding.StochasticCode`.

    Raises:
        ValueError: for fewer than one variation.
    """

    def __init__(self, inferer: DiffusionAutoencoderInferer, num_variations: int = 6, seed: int = 0) -> None:
        if num_variations < 1:
            raise ValueError(f"num_variations must be 1 or more, got {num_variations}.")
        self.inferer = inferer
        self.num_variations = num_variations
        self.stochastic_code = StochasticCode("random", seed)

    @torch.no_grad()
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: images in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.

        Returns:
            ``z_sem`` ``(B, D)``; ``variations``, shape ``(B, num_variations, C, *spatial)``; ``variation_std``, their
            standard deviation, shape of ``inputs`` (zero for a single one).
        """
        images = plain(inputs)
        z_sem = network.encode(images)
        variations = torch.stack(
            [
                self.inferer.decode(z_sem, self.stochastic_code.draw(images, k), network)
                for k in range(self.num_variations)
            ],
            dim=1,
        )
        spread = variations.std(dim=1, correction=0)
        return {
            "z_sem": z_sem,
            "variations": like_input(variations, inputs),
            "variation_std": like_input(spread, inputs),
        }

    def __call__(self, inputs: torch.Tensor, network: Callable) -> torch.Tensor:  # type: ignore[override]
        """The variations of :meth:`predict`."""
        return self.predict(inputs, network)["variations"]
