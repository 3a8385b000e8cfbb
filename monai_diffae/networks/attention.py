# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from monai_diffae.networks.blocks import zero_init
from monai_diffae.networks.group_norm import group_norm

__all__ = ["SelfAttentionBlock"]


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Scaled dot-product attention of ``(B, heads, L, C)``, by PyTorch's function or, where that is slow, in steps.

    PyTorch's kernel for processors gains nothing from bfloat16, in which products of matrices are four times as fast
    (tests/benchmarks/processor_choices.py). The steps are the authors': the scale is split over both factors, and the
    softmax is in float32.
    """
    few = q.shape[2] <= 1024  # so that the attention map of a head stays in the cache
    if not (few and q.device.type == "cpu" and q.dtype == torch.bfloat16):
        return F.scaled_dot_product_attention(q, k, v)
    scale = float(q.shape[3]) ** -0.25
    scores = torch.matmul(q * scale, (k * scale).transpose(2, 3))
    return torch.matmul(scores.float().softmax(dim=3).to(v.dtype), v)


class SelfAttentionBlock(nn.Module):
    """Residual self-attention over all positions of a feature map.

    Heads are split before query, key and value are, as in the authors' network, so that its weights can be used.

    Args:
        channels: channels of the input and output.
        num_head_channels: channels of a head; ``None`` for a single head.
        norm_num_groups: groups of the normalisation.
    """

    def __init__(self, channels: int, num_head_channels: int | None = None, norm_num_groups: int = 32) -> None:
        super().__init__()
        head_channels = channels if num_head_channels is None else num_head_channels
        if head_channels < 1 or channels % head_channels != 0:
            raise ValueError(
                f"The channels of an attention level must be divisible by num_head_channels; "
                f"got {channels} channels and num_head_channels {num_head_channels}."
            )
        self.num_heads = channels // head_channels
        self.norm = group_norm(norm_num_groups, channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = zero_init(nn.Linear(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels = x.shape[0], x.shape[1]
        h = self.norm(x).flatten(2).transpose(1, 2)  # (B, L, C)
        qkv = self.qkv(h).reshape(batch, h.shape[1], self.num_heads, 3 * (channels // self.num_heads))
        q, k, v = qkv.transpose(1, 2).chunk(3, dim=-1)  # (B, heads, L, C / heads) each
        h = attention(q, k, v).transpose(1, 2).reshape(batch, h.shape[1], channels)
        return x + self.proj(h).transpose(1, 2).reshape(x.shape)
