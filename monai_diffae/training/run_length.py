# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from monai_diffae.support.checked_numbers import count

__all__ = ["parts_of"]


def parts_of(**total_and_size: int) -> int:
    """How many parts of a size a total has, the last one shorter: epochs of a training, batches of samples.

    Args:
        total_and_size: the total, then the size, each 1 or more, by the names of the options that set them.

    Raises:
        ValueError: for another number than a whole one of 1 or more, by its name.
    """
    total, size = (count(**{name: number}) for name, number in total_and_size.items())
    return -(-total // size)
