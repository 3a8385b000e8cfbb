# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset

from monai_diffae.support.bad_files import BadFiles

__all__ = ["UsableItems", "file_of", "usable_places"]


def file_of(data: Any, index: int, key: str = "image") -> str:
    """The file of an item of a data list, or of a data set on one; its number where there is none."""
    items = getattr(data, "data", data)  # what MONAI's data sets load from
    item = items[index] if hasattr(items, "__getitem__") else None
    source = item.get(key) if isinstance(item, Mapping) else None
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else f"sample {index}"


def usable_places(data: Sequence[Any], bad_files: BadFiles | None) -> Iterator[int]:
    """The indices of the items that can be prepared, one after the other, each when the one before has been used.

    Args:
        data: prepares an item when it is asked for.
        bad_files: what becomes of the others, see :class:`~monai_diffae.support.bad_files.BadFiles`; ``None`` raises
            their error as it is.
    """
    for place in range(len(data)):
        try:
            data[place]
        except Exception as error:
            if bad_files is None:
                raise
            bad_files.add(file_of(data, place), error)
            continue
        yield place
    if bad_files is not None:
        bad_files.looked_through([file_of(data, place) for place in range(len(data))])


class UsableItems(Dataset):
    """The items of a data set that can be prepared. They are looked through once, when they are first needed.

    Args:
        data: prepares an item when it is asked for: give it one that caches.
        bad_files: what becomes of the others. Where the first of them ends the run, nothing is looked through before.
    """

    def __init__(self, data: Sequence[Any], bad_files: BadFiles) -> None:
        self.data = data
        self.bad_files = bad_files

    @functools.cached_property
    def _places(self) -> Sequence[int]:
        if not self.bad_files.are_skipped:
            return range(len(self.data))
        return list(usable_places(self.data, self.bad_files))

    @property
    def starts(self) -> list[int]:
        """Place of the item of each of ``data``, and the number of all items at the end; none for one left out."""
        usable = set(self._places)
        return list(itertools.accumulate((place in usable for place in range(len(self.data))), initial=0))

    def place(self, index: int) -> int:
        """The index in ``data`` of an item."""
        return self._places[index]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Any:
        place = self.place(index)
        try:
            return self.data[place]
        except Exception as error:
            if not self.bad_files.are_skipped:
                self.bad_files.add(file_of(self.data, place), error)  # raises
            raise
