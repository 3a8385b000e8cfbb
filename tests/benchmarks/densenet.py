# SPDX-License-Identifier: Apache-2.0
"""MONAI's DenseNet121, trained for a few minutes: a classifier that judges edits, or that is explained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.networks.nets import DenseNet121
from monai.utils import set_determinism
from tqdm import tqdm

BATCH_SIZE, LEARNING_RATE, SHIFT = 32, 1e-3, 3


def densenet(in_channels: int, out_channels: int) -> DenseNet121:
    return DenseNet121(spatial_dims=2, in_channels=in_channels, out_channels=out_channels)


def trained_densenet(
    images: torch.Tensor,
    labels: torch.Tensor,
    out_channels: int,
    loss_function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    images_seen: int,
    device: torch.device | str = "cpu",
) -> DenseNet121:
    """From images ``(N, C, height, width)`` in [-1, 1], shifted by up to 3 pixels while it learns, to logits."""
    set_determinism(0)
    network = densenet(images.shape[1], out_channels).to(device).train()
    steps = max(1, images_seen // BATCH_SIZE)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in tqdm(range(steps), desc="train DenseNet121"):
        rows = torch.randint(len(images), (BATCH_SIZE,))
        shift = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
        loss = loss_function(network(images[rows].roll(shift, (2, 3)).to(device)), labels[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    set_determinism(None)
    return network.eval()


@torch.no_grad()
def in_parts(
    function: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, device: torch.device | str
) -> torch.Tensor:
    return torch.cat([function(part.to(device)).cpu() for part in images.split(64)])
