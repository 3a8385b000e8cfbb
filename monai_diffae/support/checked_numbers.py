# SPDX-License-Identifier: Apache-2.0
"""Numbers that users give, within their range or refused by the name of their option."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from numbers import Integral, Real

__all__ = ["count", "factors", "share"]


def count(**named: int) -> int:
    """
    Args:
        named: one number by the name of the option that sets it.

    Raises:
        ValueError: for another one than a whole number of 1 or more.
    """
    ((name, number),) = named.items()
    if isinstance(number, bool) or not isinstance(number, Integral) or number < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, got {number!r}.")
    return int(number)


def factors(**named: Sequence[float]) -> tuple[float, float]:
    """
    Args:
        named: the lowest and the highest factor by the name of the option that sets them.

    Raises:
        ValueError: for others than two numbers above 0, the lower one first: transforms of MONAI draw from the range
            between them, whatever they are.
    """
    ((name, numbers),) = named.items()
    pair = numbers if isinstance(numbers, Sequence) and not isinstance(numbers, str) else ()
    is_pair = len(pair) == 2 and all(isinstance(n, Real) and not isinstance(n, bool) and isfinite(n) for n in pair)
    if not is_pair or not 0 < pair[0] <= pair[1]:
        raise ValueError(f"{name} must be two numbers above 0, the lower one first, [0.85, 1.15] say; got {numbers!r}.")
    return pair[0], pair[1]


def share(**named: float) -> float:
    """
    Args:
        named: one number by the name of the option that sets it.

    Raises:
        ValueError: for one that does not lie in [0, 1]: transforms of MONAI take the nearest instead.
    """
    ((name, number),) = named.items()
    if isinstance(number, bool) or not isinstance(number, Real) or not 0 <= number <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {number!r}.")
    return number
