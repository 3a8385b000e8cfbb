# SPDX-License-Identifier: Apache-2.0
"""Numbers of files or subjects in the text files of committed splits."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["pack_numbers", "unpack_numbers"]


def pack_numbers(numbers: Iterable[int]) -> str:
    """Numbers as ranges: ``0-9 11 13-99``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)


def unpack_numbers(ranges: str) -> list[int]:
    """The inverse of :func:`pack_numbers`."""
    numbers: list[int] = []
    for run in ranges.split():
        first, _, last = run.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers
