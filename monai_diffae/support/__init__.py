# SPDX-License-Identifier: Apache-2.0
"""The ground floor: what every room needs and what needs no room.

Its modules are imported when they are first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType

_MODULES = {
    "atomic_files",
    "bad_files",
    "batch_size",
    "fingerprints",
    "finite_weights",
    "freed_memory",
    "kept",
    "memory",
    "names",
    "out_of_memory",
    "precision",
    "processes",
    "processor",
    "randomness",
    "root_cause",
    "weight_differences",
}


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
