# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.utils import convert_to_tensor
from torch.utils.data import Dataset

from monai_diffae.data.usable_items import usable_places
from monai_diffae.support.bad_files import BadFiles

__all__ = ["VolumeSlices", "without_history"]


class VolumeSlices(Dataset):
    """Evenly spaced slices of volumes, across their last axis, one item a slice.

    Args:
        data: volumes, dictionaries of tensors ``(C, X, Y, Z)`` under ``keys`` (a MONAI data set that loads and
            prepares them, say). Other entries are passed on.
        num_slices: slices to take of every volume, at most; ``None`` for all of the range.
        slice_range: part of the volume to take them from, fractions of its extent along Z.
        keys: what to slice; an item of ``data`` may lack some of them.
        step: take every n-th slice of the range, before ``num_slices`` thins them further.
        min_foreground: leave out slices (of the first key) of which a smaller share of pixels is above
            ``foreground_level``; in [0, 1].
        foreground_level: see ``min_foreground``; prepared images are black at -1.
        bad_files: what becomes of volumes that cannot be prepared; those that are left out have no slices. By default
            their error is raised as it is.

    An item holds the slices ``(C, X, Y)``, with the affine of the slice if they are MetaTensors, the index
    ``slice`` along Z, ``slice_place``, the same as a fraction of the volume's extent, and ``volume``, the index of the
    volume in ``data``.

    The shapes are read once, when they are first needed: give it a data set that caches.

    Raises:
        ValueError: for a range that is not inside [0, 1], and when slices are looked for, if no volume has any.
    """

    # Which slices there are, of given volumes.
    depends_on = ("num_slices", "slice_range", "keys", "step", "min_foreground", "foreground_level")

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        num_slices: int | None = None,
        slice_range: Sequence[float] = (0.0, 1.0),
        keys: Sequence[str] = ("image",),
        step: int = 1,
        min_foreground: float = 0.0,
        foreground_level: float = -0.9,
        bad_files: BadFiles | None = None,
    ) -> None:
        low, high = slice_range
        if (num_slices is not None and num_slices < 1) or not 0 <= low < high <= 1:
            raise ValueError(
                "Expected num_slices of 1 or more (or None) and slice_range with 0 <= low < high <= 1, "
                f"got {num_slices} and {list(slice_range)}."
            )
        if step < 1 or not 0 <= min_foreground <= 1:
            raise ValueError(
                f"Expected step of 1 or more and min_foreground in [0, 1], got {step} and {min_foreground}."
            )
        self.data = data
        self.num_slices = num_slices
        self.slice_range = (low, high)
        self.keys = tuple(keys)
        self.step = step
        self.min_foreground = min_foreground
        self.foreground_level = foreground_level
        self.bad_files = bad_files

    @functools.cached_property
    def _index(self) -> list[tuple[int, int]]:
        """(volume, slice) of every item."""
        low, high = self.slice_range
        index: list[tuple[int, int]] = []
        for volume in usable_places(self.data, self.bad_files):
            image = self.data[volume][self.keys[0]]
            depth = image.shape[-1]
            first = min(int(low * depth), depth - 1)
            places = list(range(first, first + max(round(high * depth) - first, 1), self.step))
            if self.min_foreground > 0:
                share = (convert_to_tensor(image, track_meta=False)[..., places] > self.foreground_level).float()
                share = share.flatten(0, -2).mean(dim=0)
                places = [place for place, part in zip(places, share.tolist()) if part >= self.min_foreground]
            taken = len(places) if self.num_slices is None else min(self.num_slices, len(places))
            if taken:
                stride = len(places) // taken  # one for all, so that the slices of a volume make a volume again
                start = (len(places) - (taken - 1) * stride - 1) // 2
                index += [(volume, places[start + i * stride]) for i in range(taken)]
        if not index:
            raise ValueError(
                f"None of the {len(self.data)} volumes has a slice with min_foreground {self.min_foreground}: of so "
                f"large a share of pixels above {self.foreground_level}."
            )
        return index

    @property
    def starts(self) -> list[int]:
        """Place of each volume's first slice, and the number of all slices at the end."""
        counts = Counter(volume for volume, _ in self._index)
        return list(itertools.accumulate((counts[volume] for volume in range(len(self.data))), initial=0))

    def place(self, index: int) -> tuple[int, int]:
        """The volume of an item, by its index in ``data``, and the slice along Z."""
        return self._index[index]

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        volume, k = self.place(index)
        item = dict(self.data[volume])
        depth = item[self.keys[0]].shape[-1]
        for key in self.keys:
            if key in item:
                item[key] = _take_slice(item[key], k)
        return item | {"slice": k, "slice_place": (k + 0.5) / depth, "volume": volume}


def _take_slice(image: torch.Tensor, k: int) -> torch.Tensor:
    """``image[..., k]``; its affine keeps three axes, so that the slice can be written as a volume of one slice."""
    if not isinstance(image, MetaTensor):
        return image[..., k]
    shift = torch.eye(4, dtype=image.affine.dtype)
    shift[2, 3] = k
    return without_history(image, image.as_tensor()[..., k].clone(), image.affine @ shift)


def without_history(image: MetaTensor, x: torch.Tensor | None = None, affine: torch.Tensor | None = None) -> MetaTensor:
    """An image, or ``x`` and ``affine`` in its place, with the file name and space of its metadata and nothing else.

    What else there is depends on the format of the file, and would keep images of different ones out of a batch.
    """
    meta = {key: value for key, value in image.meta.items() if key in ("filename_or_obj", "space")}
    return MetaTensor(
        image.as_tensor() if x is None else x, affine=image.affine if affine is None else affine, meta=meta
    )
