# SPDX-License-Identifier: Apache-2.0
"""Diffusion Autoencoders for MONAI: networks, an invertible DDIM scheduler, inferers and bundles.

The rooms are imported when they are first used: bundles need all of them, most programs a few.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from monai_diffae.support import old_names as _old_names

__version__ = "0.2.0.dev0"

_ROOMS = {
    *("bundles", "checkpoints", "data", "datasets", "inferers", "metrics", "networks"),
    *("results", "schedulers", "semantics", "support", "training"),
}

_old_names.install()


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS or name in _old_names.top_level():
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
