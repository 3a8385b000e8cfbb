# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
import torch.nn as nn

__all__ = ["CrossAttentionDecoder"]


class CrossAttentionDecoder(nn.Module):
    """Makes MONAI's cross-attention ``DiffusionModelUNet`` a decoder: z_sem is handed over as a row of tokens.

    MONAI's tutorial of diffusion autoencoders conditions in this way, with tokens of width 1. (The paper modulates the
    normalisation instead, see :class:`~monai_diffae.networks.DiffAEUNet`.)

    Args:
        unet: MONAI's or monai-generative's ``DiffusionModelUNet`` with ``with_conditioning=True``.
        token_dim: its ``cross_attention_dim``, a divisor of the length of z_sem.
    """

    def __init__(self, unet: nn.Module, token_dim: int = 1) -> None:
        super().__init__()
        self.unet = unet
        self.token_dim = token_dim

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: noised images x_t, shape ``(B, C, *spatial)``.
            timesteps: shape ``(B,)`` or ``(1,)``.
            context: z_sem, shape ``(B, D)``.

        Returns:
            The prediction, shape ``(B, C, *spatial)``.

        Raises:
            ValueError: if D is no multiple of ``token_dim``.
        """
        if context.ndim != 2 or context.shape[1] % self.token_dim:
            raise ValueError(
                f"context must be z_sem of shape (B, D), D a multiple of {self.token_dim}; got {tuple(context.shape)}."
            )
        tokens = context.reshape(context.shape[0], -1, self.token_dim)
        return self.unet(x=x, timesteps=timesteps, context=tokens)
