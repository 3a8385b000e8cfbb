# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_diffae.inferers.batching import Batches
from monai_diffae.support.out_of_memory import is_out_of_memory

# As libraries say it.
FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError(
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input."
    ),
    RuntimeError("Unable to find an engine to execute this computation"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    RuntimeError("HIP out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError(
        "MPS backend out of memory (MPS allocated: 17.00 GB, other allocations: 1.00 GB, max allowed: 18.13 GB)"
    ),
    RuntimeError("XPU out of memory. Tried to allocate 512.00 MiB"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."
    ),
    MemoryError("std::bad_alloc"),
]
OTHER = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError(
        "out of resource: shared memory, Required: 262144, Hardware limit: 232448"
    ),  # of a kernel, not a batch
    ValueError("Expected images"),
    KeyError("image"),
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: str(error)[:40])
def test_a_part_is_halved_whatever_library_says_that_the_memory_is_full(error):
    sizes = []

    def function(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 2:
            raise error
        return x + 1

    assert torch.cat(Batches(8)(function, torch.arange(5))).tolist() == [1, 2, 3, 4, 5]
    assert sizes == [5, 2, 2, 1]


@pytest.mark.parametrize("error", OTHER, ids=lambda error: str(error)[:40])
def test_other_errors_are_raised_at_once(error):
    sizes = []

    def function(x: torch.Tensor) -> None:
        sizes.append(len(x))
        raise error

    with pytest.raises(type(error)) as raised:
        Batches(8)(function, torch.arange(5))
    assert raised.value is error
    assert sizes == [5]


def test_what_an_error_came_from_counts():
    def compiled(explicitly: bool) -> None:
        try:
            raise RuntimeError("Triton Error [CUDA]: out of memory")
        except RuntimeError as error:
            if explicitly:
                raise RuntimeError("backend='inductor' raised") from error
            raise RuntimeError("backend='inductor' raised")  # noqa: B904

    for explicitly in (True, False):
        with pytest.raises(RuntimeError, match="inductor") as raised:
            compiled(explicitly)
        assert is_out_of_memory(raised.value)
    hidden = RuntimeError("of its own")
    hidden.__context__, hidden.__suppress_context__ = FULL[0], True
    assert not is_out_of_memory(hidden)
