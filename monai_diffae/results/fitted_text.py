# SPDX-License-Identifier: Apache-2.0
"""Text that has a certain room: broken into lines, and smaller where that is not enough."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

__all__ = ["fit_texts"]

_SIZES = (8, 7, 6, 5)  # points


def fit_texts(
    texts: Sequence[str],
    width_of: Callable[[str, float], float],
    room: float,
    sizes: Sequence[float] = _SIZES,
    max_lines: int = 3,
) -> tuple[list[str], float]:
    """Break texts into lines that are not longer than ``room``, in one size for all of them.

    Lines end at spaces, and where a word is too long, after ``_``, ``-`` and ``/``.

    Args:
        texts: as they are, with line breaks of their own if they have any.
        width_of: of a line in a font size.
        room: that a line has, in the unit of ``width_of``.
        sizes: to choose from, descending: the first one is taken in which no text has more than ``max_lines``, or more
            than it has itself, and no part of a word must be broken. In the last one words are broken anywhere.
        max_lines: see ``sizes``.

    Returns:
        The texts with their line breaks, and the size.
    """
    for size in sizes:

        def fits(line: str, size: float = size) -> bool:
            return width_of(line, size) <= room

        last = size == sizes[-1]
        broken = [[line for own in text.split("\n") for line in _lines(own, fits, anywhere=last)] for text in texts]
        few = all(len(lines) <= max(max_lines, text.count("\n") + 1) for text, lines in zip(texts, broken))
        if last or (few and all(fits(line) for lines in broken for line in lines)):
            break
    return ["\n".join(lines) for lines in broken], size


def _lines(text: str, fits: Callable[[str], bool], anywhere: bool) -> list[str]:
    lines, line = [], ""
    for piece in _pieces(text, fits, anywhere):
        if line and not fits((line + piece).rstrip()):
            lines.append(line.rstrip())
            line = ""
        line += piece
    return [*lines, line.rstrip()]


def _pieces(text: str, fits: Callable[[str], bool], anywhere: bool) -> list[str]:
    """What a line can end behind: words, and parts of those that are too long for a line."""
    pieces = []
    for word in re.split(r"(?<=\s)", text):
        parts = [word] if fits(word.rstrip()) else re.split(r"(?<=[_/-])(?=.)", word)
        for part in parts:
            pieces += list(part) if anywhere and not fits(part.rstrip()) else [part]
    return pieces
