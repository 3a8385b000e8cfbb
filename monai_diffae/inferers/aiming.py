# SPDX-License-Identifier: Apache-2.0
"""How far to go so that what comes out has a wanted value, where only trying tells."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["aim"]

_MAX_GROWTH = 2.0  # of a factor from one attempt to the next
_MAX_FACTOR = 8.0  # a value that has not come by then does not depend on the move


@torch.no_grad()
def aim(
    value_at: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    start: torch.Tensor,
    target: torch.Tensor,
    max_evaluations: int,
    tolerance: float | torch.Tensor = 0.05,
) -> torch.Tensor:
    """Multiples of B moves at which B values are nearest to their targets, each found by itself.

    The values need not be linear, or monotone: attempts start at 1 and grow by at most 2 each up to 8, by the secant
    through the start, until the target lies between two of them; then by false position (Illinois).

    References:
        Dowell and Jarratt, A modified regula falsi method for computing the root of an equation, BIT 11, 1971.

    Args:
        value_at: called as ``value_at(factors, rows)`` with ``(R,)`` factors and the ``(R,)`` indices of the moves that
            they belong to; gives the ``(R,)`` values.
        start: values at factor 0, shape ``(B,)``.
        target: wanted values, shape ``(B,)``.
        max_evaluations: attempts for each move, 1 or more.
        tolerance: a move is done when its value misses the target by this share of the way from the start; one for all
            or one each, shape ``(B,)``.

    Returns:
        The factors of the best attempts, shape ``(B,)``: 1 where nothing came nearer than the move as it is.

    Raises:
        ValueError: for less than one evaluation.
    """
    if max_evaluations < 1:
        raise ValueError(f"max_evaluations must be 1 or more, got {max_evaluations}.")
    way = (target - start).abs()
    low, low_miss = torch.zeros_like(start), start - target  # the last attempt short of the target
    high, high_miss = torch.full_like(start, torch.inf), torch.zeros_like(start)  # and beyond it, once there is one
    side = torch.zeros_like(start)  # of the last attempt: -1 short, 1 beyond
    factor = torch.ones_like(start)
    best, best_miss = torch.ones_like(start), torch.full_like(start, torch.inf)
    for _ in range(max_evaluations):
        rows = torch.nonzero((best_miss > tolerance * way) & (way > 0) & (low < _MAX_FACTOR)).flatten()
        if not len(rows):
            break
        miss = value_at(factor[rows], rows) - target[rows]
        is_nearer = miss.abs() < best_miss[rows]
        nearer = rows[is_nearer]
        best[nearer], best_miss[nearer] = factor[nearer], miss.abs()[is_nearer]
        beyond = miss * (target - start)[rows] >= 0
        over, short = rows[beyond], rows[~beyond]
        low_miss[over[side[over] > 0]] /= 2  # Illinois: the end that stayed twice counts half
        high_miss[short[side[short] < 0]] /= 2
        high[over], high_miss[over] = factor[over], miss[beyond]
        low[short], low_miss[short] = factor[short], miss[~beyond]
        side[over], side[short] = 1, -1
        bracketed = high.isfinite()
        # Without a bracket: through the start and the last attempt, growing by half of what is allowed or more.
        slope = (low_miss - (start - target)) / low
        secant = low - low_miss / slope
        secant = torch.where(secant.isfinite() & (secant > low), secant, torch.inf)
        grown = secant.clamp(low * (1 + _MAX_GROWTH) / 2, low * _MAX_GROWTH).clamp(max=_MAX_FACTOR)
        between = low - low_miss * (high - low) / (high_miss - low_miss)
        factor = torch.where(bracketed, between, grown)
    return best
