# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from monai.networks.nets import AutoencoderKL

__all__ = ["SeededAutoencoderKL"]


class SeededAutoencoderKL(AutoencoderKL):
    """MONAI's ``AutoencoderKL`` that samples its posterior by noise that is given, not by the global generator.

    So that what is drawn for a training sample is a function of (seed, epoch, index), as all randomness here is.
    Weights
    are those of ``AutoencoderKL``.

    Args:
        others: those of ``AutoencoderKL``. Its non-local attention, on by default, makes windows of an image differ
            from the whole and grows with the square of the voxels: switch it off for volumes.
    """

    def forward(
        self, x: torch.Tensor, noise: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Args:
            x: images, shape ``(B, C, *spatial)``.
            noise: standard normal, shape of the latents; ``None`` decodes the posterior's mean.

        Returns:
            The reconstruction, shape of ``x``; mean and standard deviation of the posterior, shape of the latents.
        """
        mean, sigma = self.encode(x)
        return self.decode(mean if noise is None else mean + sigma * noise), mean, sigma
