# SPDX-License-Identifier: Apache-2.0
"""Numbers that users give, within their range or refused by the name of their option."""

from __future__ import annotations

from numbers import Integral, Real

__all__ = ["count", "share"]


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
