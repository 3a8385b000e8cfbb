# SPDX-License-Identifier: Apache-2.0
"""What the id ``precision`` of the bundles means, on any device."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from monai_diffae.support.processor import warn_of_slow_precision

__all__ = ["check_precision", "full_float32", "mixed_precision", "shared_casts"]

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
    """Where networks are called: automatic mixed precision on ``device``, or for ``float32`` all of it.

    Warns:
        UserWarning: once, of a precision that this machine's processor has to imitate, if it is ``device``.
    """
    if precision == "float32":
        return full_float32(device)
    if device.type == "cpu":
        warn_of_slow_precision(precision)
    return torch.autocast(device.type, dtype=_PRECISIONS[precision])


def full_float32(device: torch.device) -> AbstractContextManager:
    """Convolutions and products of float32 as such, with 24 bits, and not with TF32's 11.

    GPUs of NVIDIA since Ampere have TF32, and PyTorch uses it for convolutions unless told otherwise. The setting is of
    the whole process: it comes back when the last of all threads has left. Exact inversion, and numbers that are the
    same on a CPU, need it; where speed counts more, take ``bfloat16``.
    """
    return _without_tf32() if device.type == "cuda" else nullcontext()


_lock, _inside, _before = threading.Lock(), 0, (False, False)


@contextmanager
def _without_tf32() -> Iterator[None]:
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = _tf32()
            _set_tf32((False, False))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set_tf32(_before)


def _tf32() -> tuple[bool, bool]:
    """Of convolutions and of products of matrices."""
    try:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    except RuntimeError:  # somebody has set PyTorch's newer flags, which have no answer to that
        return tuple(part.fp32_precision == "tf32" for part in (torch.backends.cudnn.conv, torch.backends.cuda.matmul))


def _set_tf32(allowed: tuple[bool, bool]) -> None:
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = allowed


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
