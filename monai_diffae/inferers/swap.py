# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import torch

from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer
from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.metadata import like_input, plain
from monai_diffae.inferers.predicting import PredictingInferer

__all__ = ["SwapInferer"]


class SwapInferer(PredictingInferer):
    """z_sem of one image with x_T of another, and the reverse: which of the two codes holds what.

    Args:
        inferer: the loops, with their numbers of steps.
    """

    called_for = "swap"
    depends_on = ("inferer",)

    def __init__(self, inferer: DiffusionAutoencoderInferer) -> None:
        self.inferer = inferer

    @inference
    def predict(self, inputs: torch.Tensor, network: Callable, inputs_to: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: first images in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.
            inputs_to: second images, same shape; they may be on another device.

        Returns:
            ``z_sem`` and ``z_sem_to`` ``(B, D)``, ``x_T`` and ``x_T_to``, the codes of the first and of the second
            images; ``swap``, decoded from ``z_sem`` and ``x_T_to``, with the metadata of ``inputs``; ``swap_reversed``,
            from ``z_sem_to`` and ``x_T``, with the metadata of ``inputs_to``. The last four have the shape of
            ``inputs``.

        Raises:
            ValueError: if the shapes differ.
        """
        if inputs.shape != inputs_to.shape:
            raise ValueError(f"The images must have one shape, got {list(inputs.shape)} and {list(inputs_to.shape)}.")
        images = torch.cat([plain(inputs), plain(inputs_to).to(inputs.device)])
        codes = self.inferer.encode(images, network)
        z_sem, z_sem_to = codes.chunk(2)
        x_T, x_T_to = self.inferer.invert(images, network, codes).chunk(2)
        swapped = self.inferer.decode_series([(z_sem, x_T_to), (z_sem_to, x_T)], network)
        return {
            "z_sem": z_sem,
            "z_sem_to": z_sem_to,
            "x_T": like_input(x_T, inputs),
            "x_T_to": like_input(x_T_to, inputs_to),
            "swap": like_input(swapped[:, 0], inputs),
            "swap_reversed": like_input(swapped[:, 1], inputs_to),
        }
