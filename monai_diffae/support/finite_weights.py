# SPDX-License-Identifier: Apache-2.0
"""Weights that are NaN or infinite: what a failed training leaves, and what nothing should be computed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

__all__ = ["not_finite"]


def not_finite(state: Any) -> str:
    """How many tensors of a state hold NaN or infinite values, and which is the first; empty if none does.

    Args:
        state: a state dict, of an optimiser too, or any mappings and sequences of tensors.
    """
    tensors = {name: value for name, value in _tensors(state) if value.is_floating_point() or value.is_complex()}
    wrong = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if not wrong:
        return ""
    return f"{len(wrong)} of {len(tensors)} tensors are not finite ({wrong[0]} is the first)"


def _tensors(state: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(state, torch.Tensor):
        yield name, state
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from _tensors(value, f"{name}.{key}" if name else f"{key}")
    elif isinstance(state, Sequence) and not isinstance(state, str):
        for i, value in enumerate(state):
            yield from _tensors(value, f"{name}[{i}]")
