# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer
from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.metadata import like_input, plain
from monai_diffae.inferers.predicting import PredictingInferer
from monai_diffae.inferers.stochastic_code import StochasticCode
from monai_diffae.semantics import lerp, slerp

__all__ = ["InterpolationInferer"]


class InterpolationInferer(PredictingInferer):
    """From one image to another, or along a chain of several: z_sem along straight lines, x_T along great circles.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.1.

    Args:
        inferer: the loops, with their numbers of steps.
        num_points: images from one image to the next, both ends included, 2 or more.
        x_T: ``encode``, or ``random`` or ``zeros`` for one x_T that the whole line shares.
        seed: of the random x_T, see :class:`~monai_diffae.inferers.stochastic_code.StochasticCode`.

    Raises:
        ValueError: for fewer than two points or an unknown ``x_T``.
    """

    called_for = "interpolation"
    depends_on = ("inferer", "num_points", "stochastic_code")

    def __init__(
        self, inferer: DiffusionAutoencoderInferer, num_points: int = 7, x_T: str = "encode", seed: int = 0
    ) -> None:
        if num_points < 2:
            raise ValueError(f"num_points must be 2 or more, got {num_points}.")
        self.inferer = inferer
        self.num_points = num_points
        self.stochastic_code = StochasticCode(x_T, seed)

    @inference
    def predict(
        self, inputs: torch.Tensor, network: Callable, inputs_to: torch.Tensor | Sequence[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: first images in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.
            inputs_to: last images, same shape (MONAI's ``PrepareBatchExtraInput`` hands them over by keyword); for a
                chain a list, the images to pass in their order. They may be on another device.

        Returns:
            ``z_sem`` ``(B, D)`` of the first images; ``z_sem_to`` of the others, ``(B, D)``, or ``(B, K, D)`` for a
            list of K; ``interpolation``, shape ``(B, N, C, *spatial)``. N is ``num_points``, and ``num_points - 1``
            more for each further image of a chain, whose images are not doubled: those of ``inputs`` and
            ``inputs_to`` stand at multiples of ``num_points - 1``.

        Raises:
            ValueError: if the shapes differ, or for an empty list.
        """
        others = [inputs_to] if isinstance(inputs_to, torch.Tensor) else list(inputs_to)
        if not others:
            raise ValueError("inputs_to is an empty list; a chain has two images or more.")
        for other in others:
            if inputs.shape != other.shape:
                raise ValueError(f"The images must have one shape, got {list(inputs.shape)} and {list(other.shape)}.")
        images = torch.cat([plain(inputs), *(plain(other).to(inputs.device) for other in others)])
        z_sem = self.inferer.encode(images, network)
        x_T = self.stochastic_code(images, network, z_sem, self.inferer)
        x_T = x_T.expand(len(images), *x_T.shape[1:])
        count = 1 + len(others)
        codes = list(zip(z_sem.chunk(count), x_T.chunk(count)))
        weights = torch.linspace(0, 1, self.num_points).tolist()
        points = []
        for (z_from, x_T_from), (z_to, x_T_to) in pairwise(codes):
            for weight in weights[min(len(points), 1) :]:  # the end of one stretch is the start of the next
                points.append((lerp(z_from, z_to, weight), slerp(x_T_from, x_T_to, weight)))
        interpolation = self.inferer.decode_series(points, network)
        z_sem, *z_sem_to = (z for z, _ in codes)
        return {
            "z_sem": z_sem,
            "z_sem_to": z_sem_to[0] if isinstance(inputs_to, torch.Tensor) else torch.stack(z_sem_to, dim=1),
            "interpolation": like_input(interpolation, inputs),
        }
