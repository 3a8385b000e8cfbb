# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch.utils.data import Subset

from monai_diffae.data.seeded import SeededDataset
from monai_diffae.data.volume_slices import VolumeSlices
from monai_diffae.data.whole_volumes import WholeVolumes

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
    if isinstance(data, (SeededDataset, WholeVolumes)):
        return sample_name(data.data, index, key)
    items = getattr(data, "data", data)  # what MONAI's data sets load from
    item = items[index] if hasattr(items, "__getitem__") else None
    source = item.get(key) if isinstance(item, Mapping) else None
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else f"sample {index}"
