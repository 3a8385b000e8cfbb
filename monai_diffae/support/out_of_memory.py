# SPDX-License-Identifier: Apache-2.0
"""The many ways in which libraries say that something does not fit into memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

__all__ = ["is_out_of_memory"]

_MESSAGES = re.compile(
    "|".join(
        [
            r"out of memory",  # CUDA, HIP, MPS and XPU; Triton Error [CUDA]: out of memory
            r"ALLOC(ATION)?_FAILED",  # CUBLAS_STATUS_, CUDNN_STATUS_, CUSOLVER_STATUS_
            r"CU(BLAS|DNN|SOLVER)_STATUS_NOT_INITIALIZED",  # no memory for their workspace
            r"CUDNN_STATUS_NOT_SUPPORTED",  # so say kernels of a batch that is too large
            r"unable to find an engine to execute this computation",  # cuDNN, none whose workspace fits
            r"can't allocate memory|cannot allocate memory|not enough memory|bad_alloc",  # of the CPU
            r"\w*ErrorOutOfMemory|\w*ErrorMemoryAllocation",  # names of CUDA's and HIP's errors
        ]
    ),
    flags=re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may do: the error, or one that it came from, says that the memory is full.

    Raised are ``torch.OutOfMemoryError`` by PyTorch's own allocator, and plain errors with a message by cuBLAS, cuDNN,
    Triton (compiled networks, wrapped by the compiler) and the allocator of the CPU.
    """
    return any(isinstance(e, (torch.OutOfMemoryError, MemoryError)) or _MESSAGES.search(str(e)) for e in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
