# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
import torch.nn as nn

__all__ = ["DiffusionAutoencoder"]


class DiffusionAutoencoder(nn.Module):
    """A semantic encoder and a conditional denoiser, called as one network.

    One forward runs both parts, so that DistributedDataParallel sees every parameter; with ``context`` it is a
    conditional denoiser as MONAI's ``DiffusionInferer`` expects it.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 3.

    Args:
        encoder: any module ``(B, C, *spatial) -> (B, D)``, :class:`SemanticEncoder` for one.
        decoder: any module ``(x, timesteps, context) -> prediction``, :class:`DiffAEUNet` for one.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """``z_sem`` of clean images: ``(B, C, *spatial)`` in [-1, 1] to ``(B, D)``."""
        return self.encoder(image)

    def forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor | None = None,
        image: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Args:
            x: noised images x_t, shape ``(B, C, *spatial)``.
            timesteps: shape ``(B,)`` or ``(1,)``.
            context: z_sem, shape ``(B, D)``; or
            image: the clean images x_0 from which z_sem is computed, shape ``(B, C, *spatial)``.

        Returns:
            The decoder's prediction, shape ``(B, C, *spatial)``.

        Raises:
            ValueError: unless exactly one of ``context`` and ``image`` is given.
        """
        if (context is None) == (image is None):
            raise ValueError("Give exactly one of context (z_sem) and image (the clean image to encode).")
        z_sem = self.encode(image) if context is None else context
        return self.decoder(x, timesteps, z_sem)
