# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from typing import Any

from monai.data import CacheDataset
from monai.transforms import RandomizableTrait, Transform
from tqdm import tqdm

from monai_diffae.data.recent import RecentDataset
from monai_diffae.data.usable_items import file_of
from monai_diffae.support.bad_files import BadFiles
from monai_diffae.support.memory import free_memory, size_in_memory
from monai_diffae.support.root_cause import root_cause

__all__ = ["ItemCache"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Bad:
    """In the place of an item that cannot be prepared."""

    error: BaseException


class ItemCache(CacheDataset):
    """MONAI's ``CacheDataset`` of as many items as a part of the memory holds, whose threads end where an item cannot
    be prepared.

    Items that find no room are prepared when they are asked for, and the last two of them are kept: one volume after
    the other costs twice the time (:class:`~monai_diffae.data.RecentDataset`), in any order far more, as a warning in
    the log says.

    MONAI's threads are left behind, at work on other items, where one raises its error. Where the error ends the
    process, a thread that is in C++ of PyTorch while the interpreter shuts down aborts it: "terminate called without
    an active exception" is the last thing that a user reads, and the exit code is 134 in place of 1. Here the error
    waits until the items that other threads have begun are done; no further ones are begun.

    Args:
        args: and ``kwargs``, those of ``CacheDataset``.
        max_gigabytes: of memory for the items, 0 or more; ``None`` for half of what is free.
        bad_files: what becomes of items that cannot be prepared: the first ends the run, or each raises its error again
            whenever it is asked for (:class:`~monai_diffae.data.UsableItems` and ``VolumeSlices`` leave it out). By
            default the error of the first is raised as it is.

    Raises:
        ValueError: for less than none.
    """

    def __init__(
        self, *args: Any, max_gigabytes: float | None = None, bad_files: BadFiles | None = None, **kwargs: Any
    ) -> None:
        if max_gigabytes is not None and not max_gigabytes >= 0:
            raise ValueError(
                "max_gigabytes (in bundles: cache_gigabytes) must be 0 or more, or None for half of what is free; "
                f"got {max_gigabytes}."
            )
        self.max_gigabytes = max_gigabytes
        self.bad_files = bad_files
        super().__init__(*args, **kwargs)

    def set_data(self, data: Sequence) -> None:
        """As that of ``CacheDataset``."""
        self._room = free_memory() / 2 if self.max_gigabytes is None else self.max_gigabytes * 1e9
        self._others = RecentDataset(data, self.transform)
        first_random = self.transform.get_index_of_first(
            lambda t: isinstance(t, RandomizableTrait) or not isinstance(t, Transform)
        )
        self._is_ours = first_random is None and not self.hash_as_key and self.runtime_cache in (False, None, True)
        super().set_data(data)

    def _fill_cache(self, indices: Sequence[int] | None = None) -> list:
        indices = range(self.cache_num) if indices is None else indices
        if self.cache_num <= 0:
            return []
        items, pool = [], ThreadPool(self.num_workers)
        try:
            prepared = pool.imap(self._prepared, indices)
            for item in tqdm(prepared, total=len(indices), desc="Loading dataset", disable=not self.progress):
                if not self._takes(item):
                    break
                items.append(item)
        finally:
            pool.terminate()
            pool.join()
        self.cache_num, self._hash_keys = len(items), self._hash_keys[: len(items)]
        return items

    def _prepared(self, index: int) -> Any:
        """An item, or the error that it raises."""
        try:
            return self._load_cache_item(index)
        except Exception as error:
            if self.bad_files is None:
                raise
            self.bad_files.add(file_of(self, index), error)
            return _Bad(root_cause(error))

    def _takes(self, item: Any) -> bool:
        """Whether there is room for an item, which is then taken; where there is none, the log says so once."""
        size, had_room = size_in_memory(item), self._room >= 0
        if had_room and size > self._room:
            logger.warning(
                f"No more of {len(self)} prepared images fit into the memory for them; the others are prepared "
                "whenever they are asked for, which takes time. Raise cache_gigabytes (null: half of what is free)."
            )
        self._room -= size if size <= self._room else float("inf")
        return self._room >= 0

    def _transform(self, index: int) -> Any:
        if not self._is_ours:
            return super()._transform(index)
        place = range(len(self))[index]  # an IndexError ends iterations
        item = self._cache[place] if place < self.cache_num else None
        if isinstance(item, _Bad):
            raise item.error
        if item is None:
            item = self._others[place]
            if place < self.cache_num and self._takes(item):  # a cache that is filled at runtime
                self._cache[place] = item
        return item
