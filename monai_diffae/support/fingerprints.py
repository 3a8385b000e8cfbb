# SPDX-License-Identifier: Apache-2.0
"""One hash of whatever a result depends on."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
import torch.nn as nn

__all__ = ["code_fingerprint", "file_states", "fingerprint"]

_RANDOM_STATE = {"R"}  # of MONAI's transforms
_OF_EVERY_MODULE = vars(nn.Module())  # its mode, which is of the moment, among them


def fingerprint(thing: Any, strict: bool = True) -> str:
    """A hash of what an object is made of: numbers, strings, tensors, modules, containers, and objects of such.

    An object whose class has ``depends_on``, a tuple of names, is told by its class and those attributes alone. Other
    objects are told by all public ones of a module, or all of whatever else; functions and classes by their names, not
    by what they do. Equal objects have equal fingerprints, in another process too.

    Args:
        thing: the object.
        strict: something that cannot be looked into, such as a lambda, has another fingerprint each time, so that what
            rests on it is never taken for the same. False: it counts for nothing.
    """
    hasher = _Hasher(strict)
    hasher.add(thing)
    return hasher.digest.hexdigest()


class _Hasher:
    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.digest = hashlib.sha256()
        self._within: list[int] = []  # objects that are being looked into

    def say(self, text: str) -> None:
        self.digest.update(f"{text};".encode())

    def add(self, *things: Any) -> None:
        for thing in things:
            if id(thing) in self._within:
                self.say("itself")
                continue
            self._within.append(id(thing))
            self._add(thing.item() if isinstance(thing, np.generic) else thing)
            self._within.pop()

    def _add(self, thing: Any) -> None:
        name = f"{type(thing).__module__}.{type(thing).__qualname__}"
        if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes, Enum, torch.dtype, torch.device)):
            self.say(f"{name} {thing!r}")
        elif isinstance(thing, os.PathLike):
            self.say(f"path {os.fspath(thing)!r}")
        elif isinstance(thing, (torch.Tensor, np.ndarray)):
            self._add_numbers(thing)
        elif isinstance(thing, Mapping):
            self.say(f"mapping {len(thing)}")
            for key in sorted(set(thing) - _RANDOM_STATE, key=str):
                self.add(str(key), thing[key])
        elif isinstance(thing, (list, tuple, range)):
            self.say(f"list {len(thing)}")
            self.add(*thing)
        elif isinstance(thing, (set, frozenset)):
            self.add("set", sorted(fingerprint(item, self.strict) for item in thing))
        elif isinstance(thing, functools.partial):
            self.add("partial", thing.func, thing.args, thing.keywords)
        elif inspect.ismethod(thing):
            self.add(thing.__self__, thing.__name__)
        elif inspect.isroutine(thing) or isinstance(thing, type):
            name = f"{thing.__module__}.{thing.__qualname__}"
            self._add_by_name(name, opaque="<" in name)  # <lambda>, <locals>
        else:
            self._add_object(name, thing)

    def _add_object(self, name: str, thing: Any) -> None:
        depends_on = getattr(type(thing), "depends_on", None)
        if depends_on is not None:
            self.add(name, {attribute: getattr(thing, attribute) for attribute in depends_on})
        elif isinstance(thing, nn.Module):
            public = {k: v for k, v in vars(thing).items() if not k.startswith("_") and k not in _OF_EVERY_MODULE}
            self.add(f"module {name}", thing._parameters, thing._buffers, thing._modules, public)
        elif hasattr(thing, "__dict__"):
            self.add(f"object {name}", vars(thing))
        else:
            self._add_by_name(name, opaque=True)

    def _add_numbers(self, thing: torch.Tensor | np.ndarray) -> None:
        array = thing.detach().cpu().contiguous() if isinstance(thing, torch.Tensor) else np.ascontiguousarray(thing)
        self.say(f"array {array.dtype} {tuple(array.shape)}")
        if isinstance(array, torch.Tensor):  # by bytes: NumPy has no bfloat16
            array = array.reshape(-1).view(torch.uint8).numpy()
        self.digest.update(array.tobytes())

    def _add_by_name(self, name: str, opaque: bool) -> None:
        if opaque and self.strict:
            self.digest.update(os.urandom(32))
        else:
            self.say(f"named {name}")


@functools.cache
def code_fingerprint() -> str:
    """Of every line of this package, and the versions of what it runs on: results of other code are not the same."""
    digest = hashlib.sha256(f"{torch.__version__} {monai.__version__}".encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def file_states(paths: Iterable[str | os.PathLike]) -> list[list]:
    """Absolute path, size and time of change of files, and of all files in folders (DICOM series are such)."""
    states = []
    for path in map(Path, paths):
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            status = file.stat()
            states.append([os.path.abspath(file), status.st_size, status.st_mtime_ns])
    return states
