# SPDX-License-Identifier: Apache-2.0
"""Inference without the bookkeeping of gradients, whose results are tensors like others."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
import torch.nn as nn

__all__ = ["inference", "moved"]

Module = TypeVar("Module", bound=nn.Module)


def inference(function: Callable) -> Callable:
    """Runs a function under ``torch.inference_mode`` and gives tensors that can be changed and trained on.

    What inference mode makes is refused by operations in place and by autograd, later and elsewhere; so the outermost
    call copies its results (tensors, and dictionaries or dataclasses of such).
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if torch.is_inference_mode_enabled():
            return function(*args, **kwargs)
        with torch.inference_mode():
            result = function(*args, **kwargs)
        return _ordinary(result)

    return run


def moved(module: Module, device: torch.device) -> Module:
    """``module.to(device)`` for a module that outlives the call: its buffers must not be made by inference mode."""
    with torch.inference_mode(False):
        return module.to(device)


def _ordinary(result: Any) -> Any:
    if isinstance(result, torch.Tensor):
        return result.clone() if result.is_inference() else result
    if isinstance(result, Mapping):
        return {key: _ordinary(value) for key, value in result.items()}
    if dataclasses.is_dataclass(result):
        parts = {field.name: _ordinary(getattr(result, field.name)) for field in dataclasses.fields(result)}
        return dataclasses.replace(result, **parts)
    return result
