# SPDX-License-Identifier: Apache-2.0
"""The classifier that judges edits and samples of digits, and the measures of what an edit keeps."""

from __future__ import annotations

import numpy as np
import torch
from monai.networks.nets import Classifier

from monai_diffae.datasets.digits import measure_slant, measure_thickness

MEASURES = {"slant": measure_slant, "thickness": measure_thickness}


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
