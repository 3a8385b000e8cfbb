# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
import torch
import torch.nn as nn

__all__ = ["fingerprint"]

_WITHOUT_INFLUENCE = {"verbose", "training", "batches"}  # on what an inferer gives


def fingerprint(thing: Any) -> str:
    """A hash of what an object is made of: numbers, strings, tensors, modules, containers, and objects of such.

    Equal objects have equal fingerprints, in another process too. Something that cannot be looked into, such as a
    lambda, has another one each time: what rests on it is never taken for the same. Functions and classes are told by
    their names, not by what they do.
    """
    digest = hashlib.sha256()
    _update(digest, thing)
    return digest.hexdigest()


def _update(digest: Any, thing: Any) -> None:
    if isinstance(thing, np.generic):
        thing = thing.item()
    name = f"{type(thing).__module__}.{type(thing).__qualname__}"
    if thing is None or isinstance(thing, (bool, int, float, str, bytes, Enum, torch.dtype, torch.device)):
        digest.update(f"{name} {thing!r};".encode())
    elif isinstance(thing, (torch.Tensor, np.ndarray)):
        array = thing.detach().cpu().contiguous() if isinstance(thing, torch.Tensor) else np.ascontiguousarray(thing)
        digest.update(f"array {array.dtype} {tuple(array.shape)};".encode())
        if isinstance(array, torch.Tensor):  # by bytes: NumPy has no bfloat16
            array = array.reshape(-1).view(torch.uint8).numpy()
        digest.update(array.tobytes())
    elif isinstance(thing, Mapping):
        digest.update(f"mapping {len(thing)};".encode())
        for key in sorted(set(thing) - _WITHOUT_INFLUENCE, key=str):
            _update(digest, str(key))
            _update(digest, thing[key])
    elif isinstance(thing, (list, tuple)):
        digest.update(f"list {len(thing)};".encode())
        for item in thing:
            _update(digest, item)
    elif isinstance(thing, nn.Module):
        digest.update(f"module {name};".encode())
        public = {k: v for k, v in vars(thing).items() if not k.startswith("_")}
        for part in (thing._parameters, thing._buffers, thing._modules, public):
            _update(digest, part)
    elif inspect.ismethod(thing):
        _update(digest, [thing.__self__, thing.__name__])
    elif inspect.isroutine(thing) or isinstance(thing, type):
        name = f"{thing.__module__}.{thing.__qualname__}"
        digest.update(os.urandom(32) if "<" in name else f"named {name};".encode())  # <lambda>, <locals>
    elif hasattr(thing, "__dict__") and not isinstance(thing, functools.partial):
        digest.update(f"object {name};".encode())
        _update(digest, vars(thing))
    else:
        digest.update(os.urandom(32))
