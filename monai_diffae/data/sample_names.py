# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from torch.utils.data import Subset

from monai_diffae.data.seeded import SeededDataset
from monai_diffae.data.usable_items import UsableItems, file_of
from monai_diffae.data.volume_slices import VolumeSlices

__all__ = ["sample_name"]


def sample_name(data: Any, index: int, key: str = "image") -> str:
    """Where a sample comes from, in words for a message; nothing is read.

    Args:
        data: a data set of this package or of MONAI, on each other or on a data list.
        index: of the sample.
        key: of the image.

    Returns:
        The file, with the number of the slice; ``sample <index>`` where there is no file.
    """
    if isinstance(data, VolumeSlices):
        volume, k = data.place(index)
        return f"{sample_name(data.data, volume, key)} (slice {k})"
    if isinstance(data, Subset):
        return sample_name(data.dataset, data.indices[index], key)
    if isinstance(data, UsableItems):
        return sample_name(data.data, data.place(index), key)
    if isinstance(data, SeededDataset):
        return sample_name(data.data, index, key)
    return file_of(data, index, key)
