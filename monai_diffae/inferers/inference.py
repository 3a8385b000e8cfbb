# SPDX-License-Identifier: Apache-2.0
"""Inference without the bookkeeping of gradients, whose results are tensors like others."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["inference"]


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


def _ordinary(result: Any) -> Any:
    if isinstance(result, torch.Tensor):
        return result.clone() if result.is_inference() else result
    if isinstance(result, Mapping):
        return {key: _ordinary(value) for key, value in result.items()}
    if dataclasses.is_dataclass(result):
        parts = {field.name: _ordinary(getattr(result, field.name)) for field in dataclasses.fields(result)}
        return dataclasses.replace(result, **parts)
    return result
