# SPDX-License-Identifier: Apache-2.0
"""Changes of a code that leave the scores of linear models as they are."""

from __future__ import annotations

import torch
import torch.nn as nn

__all__ = ["without_parts_along"]


_RANK_TOLERANCE = 1e-6  # weights and patterns are kept in float32


def without_parts_along(
    changes: torch.Tensor, weights: torch.Tensor, patterns: torch.Tensor | None = None
) -> torch.Tensor:
    """What is left of changes when what moves the scores of weights is taken out: the smallest correction.

    Args:
        changes: of normalised codes, shape ``(B, D)``.
        weights: of linear models, shape ``(M, D)``, which may depend on each other; M may be 0.
        patterns: covariance of the codes times each weight, shape ``(M, D)``: the correction is then a combination of
            them, the smallest by the Mahalanobis length of codes, where without them it is one of the weights, the
            smallest by the usual length.

    Returns:
        Shape ``(B, D)``, orthogonal to every weight; computed in float64 on the CPU, and given back as ``changes`` was.
    """
    if not len(weights):
        return changes
    columns = changes.cpu().double().T
    # Of length 1, since units differ between attributes.
    others = nn.functional.normalize(weights.cpu().double()).T
    if patterns is not None:
        columns = _without_patterns(columns, weights.cpu().double(), patterns.cpu().double())
    # A driver that takes weights which depend on each other. After the patterns only rounding is left.
    solution = torch.linalg.lstsq(others, columns, rcond=_RANK_TOLERANCE, driver="gelsd").solution
    return (columns - others @ solution).T.to(changes)


def _without_patterns(columns: torch.Tensor, weights: torch.Tensor, patterns: torch.Tensor) -> torch.Tensor:
    """Changes ``(D, B)`` less the combination of patterns that has their scores."""
    deviation = (weights * patterns).sum(dim=1, keepdim=True).clamp(min=0).sqrt()  # of each score
    weights, patterns = (torch.where(deviation > 0, x / deviation, 0) for x in (weights, patterns))
    correlation = weights @ patterns.T
    solution = torch.linalg.lstsq(correlation, weights @ columns, rcond=_RANK_TOLERANCE, driver="gelsd").solution
    return columns - patterns.T @ solution
