# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from monai.data import Dataset

__all__ = ["RecentDataset"]


class RecentDataset(Dataset):
    """MONAI's ``Dataset`` that keeps the items that were prepared last: its memory does not grow with its length.

    For :class:`~monai_diffae.data.VolumeSlices`, which asks for a volume once for each of its slices, one after the
    other, where a ``CacheDataset`` of all volumes is too much. (The volumes' shapes are read first, so that each volume
    is prepared twice.)

    Args:
        data: items, before the transform.
        transform: prepares an item; without random parts.
        num_kept: items that are kept.

    Raises:
        ValueError: if none is to be kept.
    """

    def __init__(
        self, data: Sequence, transform: Sequence[Callable] | Callable | None = None, num_kept: int = 2
    ) -> None:
        if num_kept < 1:
            raise ValueError(f"num_kept must be 1 or more, got {num_kept}.")
        super().__init__(data, transform)
        self.num_kept = num_kept
        self._kept: OrderedDict[int, Any] = OrderedDict()

    def _transform(self, index: int) -> Any:
        if index not in self._kept:
            self._kept[index] = super()._transform(index)
            if len(self._kept) > self.num_kept:
                self._kept.popitem(last=False)
        return self._kept[index]
