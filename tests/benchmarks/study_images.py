# SPDX-License-Identifier: Apache-2.0
"""The images of the recipe study as plain tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.transforms import LoadImage

from monai_diffae.data import PictureReader
from monai_diffae.datasets.mednist.name_lists import CLASSES, listed_names


@dataclass
class Images:
    """``(N, 1, 64, 64)`` in [-1, 1] with a class each; ``few`` is 1 % of what a user has for training."""

    train: torch.Tensor
    train_labels: np.ndarray
    val: torch.Tensor
    val_labels: np.ndarray
    few: int


def read_images(dataset: str, dataset_dir: str, num_images: int) -> Images:
    """The same ``num_images`` training images, drawn once, and validation images of a data set."""
    return {"mednist": read_mednist, "brain_slices": read_brain_slices}[dataset](Path(dataset_dir), num_images)


def read_mednist(root: Path, num_images: int) -> Images:
    load = LoadImage(PictureReader(channels=1), image_only=True, ensure_channel_first=True)
    parts = []
    for split, count in (("train", num_images), ("val", 1500)):
        names = sorted(listed_names(split))
        chosen = [names[k] for k in np.random.default_rng(0).permutation(len(names))[:count]]
        parts.append(torch.stack([load(root / name).as_tensor() for name in chosen]))
        parts.append(np.array([CLASSES.index(name.split("/")[0]) for name in chosen]))
    return Images(*parts, few=len(listed_names("train")) // 100)


def read_brain_slices(root: Path, num_images: int) -> Images:
    raise NotImplementedError
