# SPDX-License-Identifier: Apache-2.0
"""What the id ``precision`` of the bundles means, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

__all__ = ["check_precision", "mixed_precision", "shared_casts"]

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_precision(precision: str) -> str:
    """``precision`` itself.

    Raises:
        ValueError: unless it is ``float32``, ``bfloat16`` or ``float16``.
    """
    if precision not in _PRECISIONS:
        raise ValueError(f"precision must be one of {list(_PRECISIONS)}, got {precision!r}.")
    return precision


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager:
    """Where networks are called: automatic mixed precision on ``device``, or for ``float32`` nothing at all."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_PRECISIONS[precision])


@contextmanager
def shared_casts(precision: str, device: torch.device) -> Iterator[None]:
    """Around a loop of calls under :func:`mixed_precision` in which weights do not change: they are cast once for all.

    PyTorch keeps cast weights until the outermost autocast ends, though not in inference mode: here is none, which
    costs less than casting again at each call. All else in the loop has its own precision. For inference alone.
    """
    if precision == "float32":
        yield
        return
    try:
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.clear_autocast_cache()  # weights cast without gradients, which an autocast outside would keep
