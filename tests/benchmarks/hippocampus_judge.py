# SPDX-License-Identifier: Apache-2.0
"""An independent judge of hippocampi: a small segmentation network that learned from training subjects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from ignite.handlers import ProgressBar
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from monai.inferers import SimpleInferer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    Lambdad,
    LoadImaged,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandZoomd,
    ResizeWithPadOrCropd,
    ScaleIntensityRangePercentilesd,
)
from monai.utils import set_determinism
from torch.utils.data import RandomSampler

from monai_diffae.support.atomic_files import replacing

BOX = (48, 64, 48)  # holds every crop of the data set, and the network halves it three times


def preparation(keys: Sequence[str] = ("image",)) -> Compose:
    """Files to ``(1, *BOX)``, the image's intensities in [-1, 1] and its edges repeated."""
    return Compose(
        [
            LoadImaged(keys),
            EnsureChannelFirstd(keys),
            ScaleIntensityRangePercentilesd("image", 0, 99.75, -1, 1, clip=True),
            ResizeWithPadOrCropd("image", BOX, mode="edge"),
            *([ResizeWithPadOrCropd("mask", BOX)] if "mask" in keys else []),
            Lambdad(keys, lambda volume: volume.as_tensor().float()),
        ]
    )


def segmentation_network() -> UNet:
    """Of background, anterior and posterior part."""
    return UNet(3, 1, 3, channels=(16, 32, 64, 96), strides=(2, 2, 2), num_res_units=1, norm="instance")


class Judge:
    """Volume and anterior share of a hippocampus, as a network sees them in an image.

    Args:
        weights: file; where it is not there, the network is trained and written.
        items: of training subjects, with ``image`` and ``mask``.
        iterations: of training, of 4 volumes.
        device: of the network.
    """

    def __init__(self, weights: Path, items: Sequence[dict[str, str]], iterations: int, device: torch.device) -> None:
        self.device = device
        self.network = segmentation_network()
        if not weights.exists():
            self._train(items, iterations)
            with replacing(weights) as partial:
                torch.save(self.network.state_dict(), partial)
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.network.to(device).eval()

    def _train(self, items: Sequence[dict[str, str]], iterations: int) -> None:
        set_determinism(0)
        self.network = segmentation_network().to(self.device)
        both = ["image", "mask"]
        data = CacheDataset([{key: item[key] for key in both} for item in items], preparation(both), progress=False)
        varied = Compose(
            [
                RandFlipd(both, prob=0.5, spatial_axis=0),  # a left one looks as a right one
                RandAffined(
                    both,
                    prob=0.8,
                    rotate_range=0.15,
                    scale_range=0.15,
                    translate_range=3,
                    mode=("bilinear", "nearest"),
                    padding_mode="border",
                ),
                RandZoomd(  # or it would know how large hippocampi usually are
                    both,
                    prob=0.5,
                    min_zoom=0.85,
                    max_zoom=1.15,
                    mode=("trilinear", "nearest"),
                    padding_mode=("edge", "constant"),
                ),
                RandAdjustContrastd("image", prob=0.5, gamma=(0.7, 1.4), retain_stats=False),
                RandGaussianNoised("image", prob=0.5, std=0.1),
            ]
        )
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=iterations + 1)
        drawn = RandomSampler(data, replacement=True, num_samples=4 * iterations)
        loader = DataLoader(_Varied(data, varied), batch_size=4, sampler=drawn)
        trainer = SupervisedTrainer(
            device=self.device,
            max_epochs=1,
            epoch_length=iterations,
            train_data_loader=loader,
            network=self.network,
            optimizer=optimizer,
            loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
            inferer=SimpleInferer(),
            prepare_batch=lambda batch, device, *_, **__: (batch["image"].to(device), batch["mask"].to(device)),
            train_handlers=[LrScheduleHandler(schedule, print_lr=False, epoch_level=False), ProgressBar(desc="judge")],
        )
        trainer.run()

    @torch.no_grad()
    def segment(self, path: str | Path) -> np.ndarray:
        """0, 1 (anterior) and 2 (posterior), in the frame of :func:`preparation`."""
        image = preparation()({"image": str(path)})["image"]
        return self.network(image[None].to(self.device))[0].argmax(dim=0).cpu().numpy()

    def measure(self, path: str | Path) -> dict[str, float]:
        """``volume_ml`` and ``anterior_share`` of the hippocampus in a file; the share is NaN of none."""
        voxel = abs(np.linalg.det(nib.load(path).affine[:3, :3]))
        mask = self.segment(path)
        count = int((mask > 0).sum())
        return {
            "volume_ml": count * voxel / 1000,
            "anterior_share": float((mask == 1).sum() / count) if count else float("nan"),
        }


class _Varied(torch.utils.data.Dataset):
    """Drawn anew in each epoch, of items that stay in memory."""

    def __init__(self, data: CacheDataset, transform: Compose) -> None:
        self.data, self.transform = data, transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.transform(dict(self.data[index]))
