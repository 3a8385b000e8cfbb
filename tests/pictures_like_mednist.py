# SPDX-License-Identifier: Apache-2.0
"""A folder laid out like MedNIST, of drawn pictures under names that its lists have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from monai_diffae.datasets.mednist.name_lists import CLASSES, listed_names


def write_pictures_like_mednist(folder: Path, num_train: int = 5, num_val: int = 2, num_test: int = 2) -> Path:
    """Of each class so many pictures of a split: an ellipse each."""
    rng = np.random.default_rng(0)
    y, x = np.indices((64, 64)) - 31.5
    for split, count in (("train", num_train), ("val", num_val), ("test", num_test)):
        for image_class in CLASSES:
            for name in sorted(n for n in listed_names(split) if n.startswith(image_class))[:count]:
                height, width = rng.uniform(10, 26, 2)
                picture = np.where((y / height) ** 2 + (x / width) ** 2 < 1, 180, 15) + rng.integers(0, 30, (64, 64))
                (folder / "MedNIST" / image_class).mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture.astype(np.uint8)).save(folder / "MedNIST" / name)
    return folder
