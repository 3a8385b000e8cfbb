# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

__all__ = ["GroupNorm", "group_norm"]


class GroupNorm(nn.GroupNorm):
    """PyTorch's, but for one case in which its kernel for processors is several times slower than through float32.

    It is that of small channels-last maps of half precision whose groups do not fill a vector
    (tests/benchmarks/processor_choices.py).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if (
            x.device.type == "cpu"
            and x.dtype == torch.bfloat16
            and x.ndim == 4
            and x.shape[2] * x.shape[3] < 1024  # below, the kernel takes group by group,
            and (x.shape[1] // self.num_groups) % 16 != 0  # and in each 16 channels at once or one
            and x.is_contiguous(memory_format=torch.channels_last)
        ):
            return F.group_norm(x.float(), self.num_groups, self.weight, self.bias, self.eps).to(x.dtype)
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def group_norm(norm_num_groups: int, channels: int) -> GroupNorm:
    """Group normalisation with at most ``norm_num_groups`` groups (PyTorch accumulates its statistics in float32)."""
    groups = min(norm_num_groups, channels)
    if channels % groups != 0:
        raise ValueError(
            f"Every number of channels must be divisible by norm_num_groups ({norm_num_groups}), or smaller; "
            f"got {channels} channels."
        )
    return GroupNorm(groups, channels, eps=1e-5)
