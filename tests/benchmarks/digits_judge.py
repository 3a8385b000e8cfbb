# SPDX-License-Identifier: Apache-2.0
"""Digits, the classifier that judges their edits and samples, and the measures of what an edit keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader
from monai.networks.nets import Classifier

from monai_diffae.data import add_labels, find_images
from monai_diffae.datasets import ensure_digits
from monai_diffae.datasets.digits import measure_slant, measure_thickness

LABELS = ("digit", "slant", "thickness")
MEASURES = {"slant": measure_slant, "thickness": measure_thickness}


def load_split(config: ConfigParser, folder: Path, split: str) -> dict[str, torch.Tensor]:
    """Images and labels of a split, through the bundle's own transforms."""
    ensure_digits(folder, folder, split=split)
    config["dataset_dir"] = str(folder)
    config["data"] = add_labels(find_images(folder), folder / "labels.csv", LABELS)
    config.parse(reset=True)
    batches = list(DataLoader(config.get_parsed_content("dataset"), batch_size=250))
    images = torch.cat([batch["image"].as_tensor() for batch in batches])
    return {"image": images} | {name: torch.cat([batch[name] for batch in batches]) for name in LABELS}


def train_classifier(images: torch.Tensor, labels: torch.Tensor, epochs: int = 12) -> Classifier:
    """A small convolutional network that has seen real images only."""
    torch.manual_seed(0)
    network = Classifier((1, 32, 32), 10, channels=(16, 32, 64), strides=(2, 2, 2), num_res_units=1, norm="batch")
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * -(-len(images) // 64))
    for _ in range(epochs):
        for part in torch.randperm(len(images)).split(64):
            shift = torch.randint(-2, 3, (2,)).tolist()
            loss = torch.nn.functional.cross_entropy(network(images[part].roll(shift, (2, 3))), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def correlation(name: str, before: torch.Tensor, after: torch.Tensor) -> float:
    """Of a measure of the ink, between images ``(N, 1, 32, 32)`` in [-1, 1] and what became of them."""
    inks = (((images[:, 0] + 1) / 2).clamp(0, 1).numpy() for images in (before, after))
    return float(np.corrcoef(*([MEASURES[name](ink) for ink in images] for images in inks))[0, 1])
