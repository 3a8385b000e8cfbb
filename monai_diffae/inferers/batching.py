# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from monai_diffae.support.out_of_memory import is_out_of_memory

__all__ = ["Batches"]

logger = logging.getLogger(__name__)


class Batches:
    """Calls a function on parts of a batch that are as large as the memory allows.

    Where a part does not fit (:func:`~monai_diffae.support.out_of_memory.is_out_of_memory`), it is halved, as are the
    ones after it, in later calls too.

    Args:
        size: the largest part, 1 or more; ``None`` for the whole batch.

    Raises:
        ValueError: for a size below 1.
    """

    def __init__(self, size: int | None = None) -> None:
        if size is not None and size < 1:
            raise ValueError(f"batch_size must be 1 or more, or None, got {size}.")
        self.size = size

    def __call__(self, function: Callable[..., Any], *tensors: torch.Tensor) -> list:
        """
        Args:
            function: called with a part of each tensor.
            tensors: of one length, the batch.

        Returns:
            The results of the parts, in their order.

        Raises:
            Exception: that of the function, if a single item does not fit, and any that is not about memory.
        """
        results, done, total = [], 0, len(tensors[0])
        while done < total:
            size = total - done if self.size is None else min(self.size, total - done)
            try:
                results.append(function(*(x[done : done + size] for x in tensors)))
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
                fits = False
            else:
                fits = True
            if fits:
                done += size
                continue
            # Here the exception, which holds on to what was computed, is gone.
            self.size = size // 2 if self.size is None else min(size // 2, self.size)  # another thread may be here
            backend = getattr(torch, tensors[0].device.type, None)
            if hasattr(backend, "empty_cache"):
                backend.empty_cache()
            logger.warning(f"{size} images at once do not fit into memory; going on with {self.size}.")
        return results
