# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
import torch.nn as nn

__all__ = ["Dropout"]

_LEVELS = 2**16  # of a draw


class Dropout(nn.Dropout):
    """PyTorch's, with cheaper draws on processors, where one thread makes a random number for each value.

    Here each number serves four values, with the probability rounded to 1 / 65536 (and values scaled by just that).
    A training step of the authors' network spends 5 % less time (tests/benchmarks/processor_choices.py).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dropped = round(self.p * _LEVELS)
        if not (self.training and 0 < dropped < _LEVELS) or x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        keep = (draws[: x.numel()] >= dropped - _LEVELS // 2).view(x.shape)
        return x * (keep.to(x.dtype) * (_LEVELS / (_LEVELS - dropped)))
