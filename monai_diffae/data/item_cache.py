# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

from monai.data import CacheDataset
from tqdm import tqdm

__all__ = ["ItemCache"]


class ItemCache(CacheDataset):
    """MONAI's ``CacheDataset``, whose threads have ended when an item that cannot be prepared raises its error.

    MONAI's are left behind, at work on other items. Where the error ends the process, a thread that is in C++ of
    PyTorch while the interpreter shuts down aborts it: "terminate called without an active exception" is the last thing
    that a user reads, and the exit code is 134 in place of 1. Here the error waits until the items that other threads
    have begun are done; no further ones are begun.

    Args:
        args: and ``kwargs``, those of ``CacheDataset``.
    """

    def _fill_cache(self, indices: Sequence[int] | None = None) -> list:
        indices = range(self.cache_num) if indices is None else indices
        if self.cache_num <= 0:
            return []
        pool = ThreadPool(self.num_workers)
        try:
            items = pool.imap(self._load_cache_item, indices)
            return list(tqdm(items, total=len(indices), desc="Loading dataset", disable=not self.progress))
        finally:
            pool.terminate()
            pool.join()
