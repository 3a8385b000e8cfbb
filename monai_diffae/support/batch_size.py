# SPDX-License-Identifier: Apache-2.0
"""``batch_size: auto`` of the bundles' inference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from monai_diffae.support import memory

__all__ = ["find_batch_size"]

_PIXELS_ON_GPU = 2**22  # what a GPU starts with (1024 images of 64 x 64); it is halved until it fits
_PIXELS_ON_CPU = 2**16  # throughput of the shipped networks does not grow beyond (measured: docs/inference_choices.csv)
_LARGEST = 1024
_BYTES_PER_PIXEL = 2**14  # of a wide network's feature maps: 32 of 128 channels in float32


def find_batch_size(
    batch_size: int | str | None,
    image_shape: Sequence[int],
    device: torch.device | str,
    free_memory: int | None = None,
) -> int:
    """The number of images that are processed at once.

    On CUDA it is what to start with: :class:`~monai_diffae.inferers.batching.Batches` halves it until it fits into the
    memory. Elsewhere, where nothing says in time that the memory is full, it stays: no more pixels than gain anything,
    and no more images than fit into half of the free memory.

    Args:
        batch_size: ``auto`` or None to find it; or a number, which is the result.
        image_shape: ``(C, *spatial)`` of the network's images.
        device: of the network.
        free_memory: bytes, where it stays; those that the system has if None.

    Raises:
        ValueError: for another word, or a number below 1.
    """
    if batch_size is not None and batch_size != "auto":
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size must be 'auto' or a number of images, 1 or more; got {batch_size!r}.")
        return batch_size
    pixels = math.prod(image_shape[1:])
    if torch.device(device).type == "cuda":
        return min(_LARGEST, max(1, _PIXELS_ON_GPU // pixels))
    free_memory = memory.free_memory() if free_memory is None else free_memory
    return min(_LARGEST, max(1, min(_PIXELS_ON_CPU // pixels, free_memory // 2 // (pixels * _BYTES_PER_PIXEL))))
