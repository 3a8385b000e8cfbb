# SPDX-License-Identifier: Apache-2.0
"""Residual blocks of the Diff-AE networks, in 2D and 3D.

References:
    Preechakul et al., "Diffusion Autoencoders", CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 3.1 and Eq. 7;
    numerics as in the authors' ``model/blocks.py`` (https://github.com/phizaz/diffae).
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.layers.factories import Conv, Pool

from monai_diffae.networks.dropout import Dropout
from monai_diffae.networks.group_norm import group_norm

__all__ = [
    "ConditionedResidualBlock",
    "ConditionedSequential",
    "ResidualBlock",
    "resampling",
    "zero_init",
]


def zero_init(module: nn.Module) -> nn.Module:
    """Set every parameter to zero, so that a residual branch starts as the identity. Returns ``module``."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def resampling(resample: str | None, spatial_dims: int) -> nn.Module:
    """``"down"``: average pooling by 2, ``"up"``: nearest neighbour times 2, ``None``: identity."""
    if resample is None:
        return nn.Identity()
    if resample == "down":
        return Pool[Pool.AVG, spatial_dims](kernel_size=2, stride=2)
    if resample == "up":
        return nn.Upsample(scale_factor=2.0, mode="nearest")
    raise ValueError(f"resample must be None, 'down' or 'up', got {resample!r}.")


class ResidualBlock(nn.Module):
    """Unconditioned block of the semantic encoder: ``skip(x) + conv([resample] SiLU(GroupNorm(x)))``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm_num_groups: groups of the normalisation (at most; never more than the channels).
        resample: ``None``, ``"down"`` or ``"up"``; acts on the branch and on the skip connection.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        norm_num_groups: int = 32,
        resample: str | None = None,
    ) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        self.norm = group_norm(norm_num_groups, in_channels)
        self.resample = resampling(resample, spatial_dims)
        self.conv = conv(in_channels, out_channels, kernel_size=3, padding=1)
        self.skip = nn.Identity() if in_channels == out_channels else conv(in_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv(self.resample(F.silu(self.norm(x))))
        return self.skip(self.resample(x)) + h


class ConditionedResidualBlock(nn.Module):
    """Residual block modulated by the timestep and by z_sem (the paper's adaptive group normalisation).

    ``AdaGN(h, t, z) = (1 + z_s) * ((1 + t_s) * GroupNorm(h) + t_b)`` (Eq. 7), computed as one scale and one shift.

    Differs from the official implementation: scale and shift of both conditions are multiplied out first, which
    saves one pass over the feature map; the result is equal up to rounding.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        time_embed_dim: length of the timestep embedding.
        z_dim: length of z_sem.
        norm_num_groups: groups of the normalisation (at most; never more than the channels).
        resample: ``None``, ``"down"`` or ``"up"``; acts on the branch and on the skip connection.
        dropout: dropout probability before the last convolution.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        time_embed_dim: int,
        z_dim: int,
        norm_num_groups: int = 32,
        resample: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        self.norm_in = group_norm(norm_num_groups, in_channels)
        self.resample = resampling(resample, spatial_dims)
        self.conv_in = conv(in_channels, out_channels, kernel_size=3, padding=1)
        self.time_proj = nn.Linear(time_embed_dim, 2 * out_channels)
        self.z_proj = nn.Linear(z_dim, out_channels)
        self.norm_out = group_norm(norm_num_groups, out_channels)
        self.dropout = Dropout(dropout)
        self.conv_out = zero_init(conv(out_channels, out_channels, kernel_size=3, padding=1))
        self.skip = nn.Identity() if in_channels == out_channels else conv(in_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor, time_embedding: torch.Tensor, z_sem: torch.Tensor) -> torch.Tensor:
        h = self.conv_in(self.resample(F.silu(self.norm_in(x))))
        t_scale, t_shift = self.time_proj(F.silu(time_embedding)).chunk(2, dim=1)  # (B or 1, out_channels) each
        z_scale = 1 + self.z_proj(F.silu(z_sem))  # (B, out_channels)
        scale, shift = (1 + t_scale) * z_scale, t_shift * z_scale
        broadcast = scale.shape + (1,) * (h.ndim - 2)
        h = torch.addcmul(shift.reshape(broadcast), self.norm_out(h), scale.reshape(broadcast))
        h = self.conv_out(self.dropout(F.silu(h)))
        return self.skip(self.resample(x)) + h


class ConditionedSequential(nn.ModuleList):
    """Modules in a row; the conditioned ones among them also get the timestep embedding and z_sem."""

    def forward(self, h: torch.Tensor, time_embedding: torch.Tensor, z_sem: torch.Tensor) -> torch.Tensor:
        for module in self:
            h = module(h, time_embedding, z_sem) if isinstance(module, ConditionedResidualBlock) else module(h)
        return h
