# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from monai_diffae.data.volume_slices import VolumeSlices

__all__ = ["SlicePairs"]


class SlicePairs(Dataset):
    """Each slice with the slice at the same place of the next volume, as ``image`` and ``image_to``.

    Args:
        data: slices of two volumes or more. Where two volumes have different numbers of slices, the surplus is left
            out.

    Raises:
        ValueError: if there is no pair.
    """

    def __init__(self, data: VolumeSlices) -> None:
        self.data = data
        starts = data.volume_starts
        self._pairs = [
            (first + i, second + i)
            for first, second, end in zip(starts[:-2], starts[1:-1], starts[2:])
            for i in range(min(second - first, end - second))
        ]
        if not self._pairs:
            raise ValueError("Interpolation needs two volumes or more in dataset_dir.")

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        first, second = self._pairs[index]
        return self.data[first] | {"image_to": self.data[second]["image"]}
