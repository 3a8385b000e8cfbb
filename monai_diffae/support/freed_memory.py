# SPDX-License-Identifier: Apache-2.0
"""Freed memory kept by the process, for work that takes and frees large arrays again and again.

Left to itself, glibc returns each large array to the system, and where fresh pages are dear, as in virtual machines,
two thirds of the time of making a brain volume go into them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

__all__ = ["keep_freed_memory", "kept_freed_memory"]

# Numbers of glibc's malloc.h: trim threshold, top pad, mmap threshold, largest number of mappings.
_TRIM, _PAD, _MMAP_THRESHOLD, _MAPPINGS = -1, -2, -3, -4
_KEEP = {_MAPPINGS: 0, _TRIM: 2**31 - 1, _PAD: 2**29}
# Where glibc's own adjustment ends in a process that has freed a large array.
_USUAL = {_MAPPINGS: 65536, _MMAP_THRESHOLD: 2**25, _TRIM: 2**26, _PAD: 2**17}


def keep_freed_memory() -> None:
    """From now on. What the user has set stays; without glibc nothing happens."""
    _set(_KEEP)


@contextlib.contextmanager
def kept_freed_memory() -> Iterator[None]:
    """Within; at the end what is kept goes back to the system."""
    if not _set(_KEEP):
        yield
        return
    try:
        yield
    finally:
        _set(_USUAL)
        ctypes.CDLL(None).malloc_trim(0)


def _set(options: dict[int, int]) -> bool:
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    for name, value in options.items():
        mallopt(name, value)
    return True
