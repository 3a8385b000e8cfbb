# SPDX-License-Identifier: Apache-2.0
"""The images of the recipe study as plain tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import LoadImage

from monai_diffae.data import PictureReader
from monai_diffae.datasets import generate_brain_slices
from monai_diffae.datasets.mednist.name_lists import CLASSES, listed_names

BRAIN_SLICES = Path(__file__).parents[2] / "bundles" / "brain_slices_diffae"


@dataclass
class Images:
    """``(N, 1, 64, 64)`` in [-1, 1] with a class each; ``few`` labels are those of the second probe."""

    train: torch.Tensor
    train_labels: np.ndarray
    val: torch.Tensor
    val_labels: np.ndarray
    few: int


def read_images(dataset: str, dataset_dir: str, num_images: int) -> Images:
    """The same ``num_images`` training images, drawn once, and validation images of a data set."""
    return {"mednist": read_mednist, "brain_slices": read_brain_slices}[dataset](Path(dataset_dir), num_images)


def drawn_names(split: str, count: int) -> list[str]:
    """``count`` pictures of a list of MedNIST, all where it holds fewer."""
    names = sorted(listed_names(split))
    return [names[k] for k in np.random.default_rng(0).permutation(len(names))[:count]]


def read_mednist(root: Path, num_images: int, num_val: int = 1500) -> Images:
    load = LoadImage(PictureReader(channels=1), image_only=True, ensure_channel_first=True)
    parts = []
    for split, count in (("train", num_images), ("val", num_val)):
        chosen = drawn_names(split, count)
        parts.append(torch.stack([load(root / name).as_tensor() for name in chosen]))
        parts.append(np.array([CLASSES.index(name.split("/")[0]) for name in chosen]))
    return Images(*parts, few=len(listed_names("train")) // 100)


def read_brain_slices(root: Path, num_images: int) -> Images:
    """Slices of 80 subjects as fit_attributes.yaml of the bundle prepares them, fewer than ``num_images`` and so seen
    several times; made in ``root`` first if it holds none. Those of the last fifth of the subjects validate; a slice is
    of class 1 where it shows a lesion."""
    if not (root / "labels.csv").exists():
        generate_brain_slices(root, num_subjects=80, seed=0, spacing=3.0, num_workers=1)
    parser = ConfigParser()
    parser.read_config([BRAIN_SLICES / "configs" / name for name in ("inference.yaml", "fit_attributes.yaml")])
    parser["bundle_root"], parser["dataset_dir"] = str(BRAIN_SLICES), str(root)
    dataset = parser.get_parsed_content("dataset")
    first_held_out = len(dataset) * 4 // 5  # within a subject's slices for some: its others are left out below
    subjects = [dataset.data[k]["subject"] for k in range(len(dataset))]
    val = [k for k in range(first_held_out, len(dataset)) if subjects[k] != subjects[first_held_out - 1]]
    train = np.random.default_rng(0).permutation(first_held_out)[:num_images].tolist()

    def read(places: list[int]) -> tuple[torch.Tensor, np.ndarray]:
        items = [dataset[k] for k in places]
        return torch.stack([item["image"].as_tensor() for item in items]), np.array([int(i["lesion"]) for i in items])

    val = np.random.default_rng(0).permutation(val)[:1500].tolist()
    return Images(*read(train), *read(val), few=100)
