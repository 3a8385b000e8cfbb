# SPDX-License-Identifier: Apache-2.0
"""Words of the command line that are names: ``monai.bundle run`` reads ``2024`` as a number, ``a,b`` as two words."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["as_typed", "names_in"]


def names_in(names: Any) -> list[str]:
    """Names from one word or several, numbers among them: ``hand`` and ``["hand"]`` are the same, 2024 is ``2024``."""
    if names is None or isinstance(names, (str, bytes)) or not isinstance(names, (Sequence, set, frozenset)):
        names = [] if names is None else [names]
    return [str(name) for name in names]


def as_typed(value: Any, option: str) -> str:
    """An option that is text, as it was typed: ``--output_dir 2024`` and ``--output_dir 2024_01`` name folders.

    Args:
        value: what became of it.
        option: its name, which is looked for in the command line.

    Raises:
        ValueError: for another value than text or a whole number that is not in the command line so.
    """
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    typed = next((word for word in _typed(option) if _read(word) == value), None)
    if typed is None and isinstance(value, int) and not isinstance(value, bool):
        typed = str(value)
    if typed is None:
        raise ValueError(
            f"{option} is text, such as the name of a folder; got {value!r}. Quote it: --{option} \"'...'\"."
        )
    return typed


def _typed(option: str) -> list[str]:
    """What stands behind the option in the command line, last first, as the last one counts."""
    found = []
    for word, following in zip(sys.argv[1:], [*sys.argv[2:], ""]):
        name, equals, value = word.partition("=")
        if name.lstrip("-").replace("-", "_") == option and name.startswith("-"):
            found.append(value if equals else following)
    return found[::-1]


def _read(word: str) -> Any:
    """A word as Python reads it, for want of a quotation; lists of bare words are left to the user."""
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word
