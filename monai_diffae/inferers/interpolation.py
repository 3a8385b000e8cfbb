# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import torch
from monai.inferers import Inferer

from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer, StochasticCode, like_input, plain
from monai_diffae.semantics import lerp, slerp

__all__ = ["InterpolationInferer"]


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
