# SPDX-License-Identifier: Apache-2.0
"""Import paths of version 0.1.0, which configurations of users may name: they lead to the new ones, with a warning.

The only module that knows rooms above it, and only by their names. It goes with version 0.3.0.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["install", "moved_names", "top_level"]

_TRAINING = {
    *("DiffusionAdversarialTrainer", "DiffusionTrainer", "EMAWarmUp", "ForeachEMAHandler", "GradientClippingHandler"),
    *("GradientNormRecorder", "LatentBatches", "PredictedImageLoss", "PredictedImagePrepareBatch", "SemanticGap"),
    *("SampledDiffusionPrepareBatch", "SemanticGapWarning", "TrainingLogSaver", "complete_tracking"),
    *("find_last_checkpoint", "load_initial_weights", "resume_training", "run_to_end"),
}
_RESULTS = {
    *("AttributeFitter", "EditsTableSaver", "FigureSaver", "LatentsTableSaver", "MontageSaver", "PictureSeriesSaver"),
    *("SliceVolumeSaver", "SourceVolumeSaver", "VolumeFigureSaver", "put_into_source"),
}
_DATASETS = {
    *("ensure_brain_slices", "ensure_digits", "generate_brain_slices", "generate_digits", "load_digits_arrays"),
}
_NAMES = dict.fromkeys(_TRAINING, "training") | dict.fromkeys(_RESULTS, "results")
_NAMES |= dict.fromkeys(_DATASETS, "datasets") | {"WeightsLoader": "checkpoints"}
_MODULES = {  # modules that are gone; where their names are looked for
    "handlers": None,
    "engines": None,
    "losses": None,
    "batch_size": "support.batch_size",
    "processes": "support.processes",
    "root_cause": "support.root_cause",
    "data.brain_slices": "datasets.brain_slices",
    "data.digits": "datasets.digits",
}


def moved_names(module: str) -> Callable[[str], Any]:
    """A ``__getattr__`` for the module of that name, which finds what has moved out of it."""

    def find(name: str) -> Any:
        room = _MODULES.get(module.removeprefix("monai_diffae.")) or _NAMES.get(name)
        if room is None or name.startswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new = f"monai_diffae.{room}"
        found = getattr(importlib.import_module(new), name)
        warnings.warn(
            f"{module}.{name} is now {new}.{name}; the old path works until version 0.3.0.",
            DeprecationWarning,
            stacklevel=2,
        )
        return found

    return find


class _OldModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        known = fullname.startswith("monai_diffae.") and fullname.removeprefix("monai_diffae.") in _MODULES
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if known else None

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = moved_names(module.__name__)


def install() -> None:
    """Let the import system find modules that are gone."""
    if not any(isinstance(finder, _OldModules) for finder in sys.meta_path):
        sys.meta_path.append(_OldModules())


def top_level() -> set[str]:
    """Names of the modules that were beside the rooms, or rooms themselves."""
    return {name for name in _MODULES if "." not in name}
