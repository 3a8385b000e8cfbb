# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from numbers import Integral

__all__ = ["parts_of"]


def parts_of(**total_and_size: int) -> int:
    """How many parts of a size a total has, the last one shorter: epochs of a training, batches of samples.

    Args:
        total_and_size: the total, then the size, each 1 or more, by the names of the options that set them.

    Raises:
        ValueError: for another number than a whole one of 1 or more, by its name.
    """
    for name, number in total_and_size.items():
        if isinstance(number, bool) or not isinstance(number, Integral) or number < 1:
            raise ValueError(f"{name} must be a whole number of 1 or more, got {number!r}.")
    total, size = total_and_size.values()
    return -(-total // size)
