# SPDX-License-Identifier: Apache-2.0
"""Values of options have the kind of what they replace: ``--resume false`` is text to ``monai.bundle run``, so true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

__all__ = ["read_values"]

_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NULL = ("null", "none", "~")
_EXPRESSIONS = ("$", "@", "%")  # with which MONAI's expressions, references and macros begin


def read_values(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Options whose values mean something else than what they are: words for true, false and null, floats for whole
    numbers, and ``None``, which ``monai.bundle run`` would leave out.

    Args:
        options: from ids to values, as ``monai.bundle run`` gets them.
        defaults: what the configuration has at these ids; others pass.

    Returns:
        The ids of these, and their values.

    Raises:
        ValueError: for a value of another kind than the configuration's: true or false, a number (or null, or a list of
            them), a list of numbers, a mapping. Expressions pass.
    """
    read: dict[str, Any] = {}
    for id, default in defaults.items():
        value = options[id]
        if isinstance(value, str) and value.startswith(_EXPRESSIONS):
            continue
        new = _read(id, value, default)
        if new is not value or new is None:
            read[id] = new
    return read


def _read(id: str, value: Any, default: Any) -> Any:
    if isinstance(default, bool):
        return _truth(id, value)
    if value is None:
        return None
    is_computed = isinstance(default, str) and default.startswith(_EXPRESSIONS)  # a folder, say, may be named null
    if isinstance(value, str) and value.strip().casefold() in _NULL and not is_computed:
        return None
    of_numbers = isinstance(default, list) and bool(default) and all(_is_number(entry) for entry in default)
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    if _is_number(default) and not is_list:
        return _number(id, value, whole=isinstance(default, Integral))
    if of_numbers and not (is_list and all(entry is None or _is_number(entry) for entry in value)):
        raise ValueError(f"{id} is a list of numbers, such as {default}, got {value!r}.")
    if isinstance(default, Mapping) and "_target_" not in default and not isinstance(value, Mapping):
        raise ValueError(f"{id} is a mapping, such as \"{{'name':'value'}}\", got {value!r}.")
    return value


def _truth(id: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().casefold() in _TRUTH:
        return _TRUTH[value.strip().casefold()]
    raise ValueError(f"{id} is true or false, got {value!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _number(id: str, value: Any, whole: bool) -> Any:
    if not _is_number(value):
        raise ValueError(f"{id} is a number, got {value!r}.")
    if not whole or isinstance(value, Integral):
        return value
    if value != value or value in (float("inf"), -float("inf")) or value != int(value):
        raise ValueError(f"{id} is a whole number, got {value!r}.")
    return int(value)  # 1e4
