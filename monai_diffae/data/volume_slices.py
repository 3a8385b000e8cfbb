# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from torch.utils.data import Dataset

__all__ = ["VolumeSlices"]


class VolumeSlices(Dataset):
    """Evenly spaced slices of volumes, across their last axis, one item a slice.

    Args:
        data: volumes, dictionaries of tensors ``(C, X, Y, Z)`` under ``keys`` (a MONAI data set that loads and
            prepares them, say). Other entries are passed on.
        num_slices: slices to take of every volume, at most; ``None`` for all of the range.
        slice_range: part of the volume to take them from, fractions of its extent along Z.
        keys: what to slice; an item of ``data`` may lack some of them.

    An item holds the slices ``(C, X, Y)``, with the affine of the slice if they are MetaTensors, the index
    ``slice`` along Z, and ``volume``, the index of the volume in ``data``.

    The shapes are read once, when they are first needed: give it a data set that caches.

    Raises:
        ValueError: for a range that is not inside [0, 1].
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        num_slices: int | None = None,
        slice_range: Sequence[float] = (0.0, 1.0),
        keys: Sequence[str] = ("image",),
    ) -> None:
        low, high = slice_range
        if (num_slices is not None and num_slices < 1) or not 0 <= low < high <= 1:
            raise ValueError(
                "Expected num_slices of 1 or more (or None) and slice_range with 0 <= low < high <= 1, "
                f"got {num_slices} and {list(slice_range)}."
            )
        self.data = data
        self.num_slices = num_slices
        self.slice_range = (low, high)
        self.keys = tuple(keys)

    @functools.cached_property
    def _index(self) -> list[tuple[int, int]]:
        """(volume, slice) of every item."""
        low, high = self.slice_range
        index: list[tuple[int, int]] = []
        for volume in range(len(self.data)):
            depth = self.data[volume][self.keys[0]].shape[-1]
            first = min(int(low * depth), depth - 1)
            available = max(round(high * depth) - first, 1)
            taken = available if self.num_slices is None else min(self.num_slices, available)
            stride = available // taken  # one for all, so that the slices of a volume make a volume again
            first += (available - (taken - 1) * stride - 1) // 2
            index += [(volume, first + i * stride) for i in range(taken)]
        return index

    @property
    def volume_starts(self) -> list[int]:
        """Place of each volume's first slice, and the number of all slices at the end."""
        return [i for i, (volume, _) in enumerate(self._index) if i == 0 or volume != self._index[i - 1][0]] + [
            len(self)
        ]

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        volume, k = self._index[index]
        item = dict(self.data[volume])
        for key in self.keys:
            if key in item:
                item[key] = _take_slice(item[key], k)
        return item | {"slice": k, "volume": volume}


def _take_slice(image: torch.Tensor, k: int) -> torch.Tensor:
    """``image[..., k]``; its affine keeps three axes, so that the slice can be written as a volume of one slice."""
    if not isinstance(image, MetaTensor):
        return image[..., k]
    shift = torch.eye(4, dtype=image.affine.dtype)
    shift[2, 3] = k
    meta = {key: value for key, value in image.meta.items() if key in ("filename_or_obj", "space")}
    return MetaTensor(image.as_tensor()[..., k].clone(), affine=image.affine @ shift, meta=meta)
