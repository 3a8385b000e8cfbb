# SPDX-License-Identifier: Apache-2.0
"""Values of options have the kind of what they replace: ``--resume false`` is text to ``monai.bundle run``, so true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

__all__ = ["read_values"]

_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_EXPRESSIONS = ("$", "@", "%")  # with which MONAI's expressions, references and macros begin


def read_values(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Options whose values mean something else than what they are: the words of truth values, whole numbers as floats.

    Args:
        options: from ids to values, as ``monai.bundle run`` gets them.
        defaults: what the configuration has at these ids; others pass.

    Returns:
        The ids of these, and their values.

    Raises:
        ValueError: for another value than true or false where the configuration has one of these, and for another than
            a number where it has a number (lists and null pass, expressions too).
    """
    read: dict[str, Any] = {}
    for id, default in defaults.items():
        value = options[id]
        if value is None or (isinstance(value, str) and value.startswith(_EXPRESSIONS)):
            continue
        if isinstance(default, bool):
            new: Any = _truth(id, value)
        elif isinstance(default, Real) and not (isinstance(value, Sequence) and not isinstance(value, str)):
            new = _number(id, value, whole=isinstance(default, Integral))
        else:
            continue
        if new is not value:
            read[id] = new
    return read


def _truth(id: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().casefold() in _TRUTH:
        return _TRUTH[value.strip().casefold()]
    raise ValueError(f"{id} is true or false, got {value!r}.")


def _number(id: str, value: Any, whole: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{id} is a number, got {value!r}.")
    if not whole or isinstance(value, Integral):
        return value
    if value != value or value in (float("inf"), -float("inf")) or value != int(value):
        raise ValueError(f"{id} is a whole number, got {value!r}.")
    return int(value)  # 1e4
