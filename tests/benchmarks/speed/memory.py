# SPDX-License-Identifier: Apache-2.0
"""What a call needs beside what is there before it."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch

__all__ = ["peak_memory"]

_MEBIBYTE = 2**20


def peak_memory(call: Callable[[], object], device: torch.device) -> float | None:
    """MiB of the call's peak above what was in use before it; ``None`` where the system does not tell.

    On a GPU that of PyTorch's allocator, on Linux the resident memory of the process, working memory of libraries
    included.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / _MEBIBYTE
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back, so that it counts when it is used again
        reset.write_text("5")  # the peak starts anew
    except (AttributeError, OSError):
        call()
        return None
    before = _kibibytes(status, "VmRSS")
    call()
    return (_kibibytes(status, "VmHWM") - before) / 1024


def _kibibytes(status: Path, name: str) -> int:
    for line in status.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"{status} has no {name}.")
