# SPDX-License-Identifier: Apache-2.0
"""Blocks of the authors' networks, computed step by step as their code does. The names of parameters are theirs.

Written from a description of https://github.com/phizaz/diffae (``model/``), not from the code:

- GroupNorm: "min(32, channels) groups, eps 1e-5, computed in float32": cast, normalise, cast back.
- AdaGN: "h = h * (1 + t_scale) + t_shift, h = h * (1 + z_scale)": two passes over the feature map, in this order.
- "SiLU, dropout, 3x3 conv"; "up is nearest x2, down is 2x2 average pooling ... both the branch and the skip".
- Attention: "GroupNorm, 1x1 qkv, heads split before q, k, v are split, scale 1/sqrt(head_dim) shared between q and k",
  so qkv is a convolution over a row of positions, the two products are einsums over (heads, channels, positions), and
  softmax is of float32.
- Feature maps are NCHW in memory throughout.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

__all__ = ["PlainAttention", "PlainBlock", "PlainGroupNorm", "PlainSequential"]


class PlainGroupNorm(nn.GroupNorm):
    """Group normalisation that casts its input to float32 and its result back."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(min(groups, channels), channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.float()).type(x.dtype)


class PlainBlock(nn.Module):
    """Residual block; without ``z_dim`` the encoder's, which has the first half only.

    Args:
        channels: of the input.
        out_channels: of the output.
        groups: of the normalisation, at most.
        time_dim: length of the timestep embedding.
        z_dim: length of z_sem; ``None`` for the encoder's.
        resample: ``None``, ``"up"`` or ``"down"``.
        dropout: before the last convolution.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        groups: int,
        time_dim: int | None = None,
        z_dim: int | None = None,
        resample: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            PlainGroupNorm(channels, groups), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.resample = resample
        self.conditioned = z_dim is not None
        if self.conditioned:
            self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_dim, 2 * out_channels))
            self.cond_emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(z_dim, out_channels))
            self.out_layers = nn.Sequential(
                PlainGroupNorm(out_channels, groups),
                nn.SiLU(),
                nn.Dropout(dropout),
                nn.Conv2d(out_channels, out_channels, 3, padding=1),
            )
        self.skip_connection = (
            nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, kernel_size=1)
        )

    def _resampled(self, x: torch.Tensor) -> torch.Tensor:
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return F.avg_pool2d(x, 2) if self.resample == "down" else x

    def forward(
        self, x: torch.Tensor, time: torch.Tensor | None = None, z_sem: torch.Tensor | None = None
    ) -> torch.Tensor:
        h = self.in_layers[2](self._resampled(self.in_layers[1](self.in_layers[0](x))))
        if self.conditioned:
            scale, shift = self.emb_layers(time).type(h.dtype)[..., None, None].chunk(2, dim=1)
            z_scale = self.cond_emb_layers(z_sem).type(h.dtype)[..., None, None]
            h = self.out_layers[0](h)
            h = h * (1 + scale) + shift
            h = h * (1 + z_scale)
            h = self.out_layers[1:](h)
        return self.skip_connection(self._resampled(x)) + h


class PlainAttention(nn.Module):
    """Self-attention over the positions of a feature map, in a residual branch."""

    def __init__(self, channels: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = PlainGroupNorm(channels, groups)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        batch, channels, *sides = x.shape
        rows = x.reshape(batch, channels, -1)
        width = channels // self.heads
        q, k, v = self.qkv(self.norm(rows)).reshape(batch * self.heads, 3 * width, -1).split(width, dim=1)
        scale = width**-0.25  # on either side, so that the product gets 1/sqrt(width)
        weight = torch.einsum("bct,bcs->bts", q * scale, k * scale)
        weight = weight.float().softmax(dim=-1).type(weight.dtype)
        h = torch.einsum("bts,bcs->bct", weight, v).reshape(batch, channels, -1)
        return (rows + self.proj_out(h)).reshape(batch, channels, *sides)


class PlainSequential(nn.Sequential):
    """Modules in a row; those that are conditioned get the conditions."""

    def forward(self, x: torch.Tensor, *conditions: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        for module in self:
            x = module(x, *conditions) if isinstance(module, (PlainBlock, PlainAttention)) else module(x)
        return x
