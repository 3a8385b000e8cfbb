# SPDX-License-Identifier: Apache-2.0
"""Changes of a code that leave the scores of linear models as they are."""

from __future__ import annotations

import torch
import torch.nn as nn

__all__ = ["without_parts_along"]


def without_parts_along(changes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """What is left of changes when their parts in the span of weights are taken out: the smallest correction.

    Args:
        changes: of normalised codes, shape ``(B, D)``.
        weights: of linear models, shape ``(M, D)``, which may depend on each other; M may be 0.

    Returns:
        Shape ``(B, D)``, orthogonal to every weight; computed in float64 on the CPU, and given back as ``changes`` was.
    """
    if not len(weights):
        return changes
    # Of length 1, since units differ between attributes.
    others, columns = nn.functional.normalize(weights.cpu().double()).T, changes.cpu().double().T
    # A driver that takes weights which depend on each other.
    return (columns - others @ torch.linalg.lstsq(others, columns, driver="gelsd").solution).T.to(changes)
