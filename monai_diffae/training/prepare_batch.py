# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from monai.engines import DiffusionPrepareBatch, PrepareBatch

from monai_diffae.schedulers import InvertibleDDIMScheduler

__all__ = ["CompressionPrepareBatch", "PredictedImagePrepareBatch", "SampledDiffusionPrepareBatch"]


class SampledDiffusionPrepareBatch(DiffusionPrepareBatch):
    """MONAI's DiffusionPrepareBatch for samples that bring their noise and timestep along.

    :class:`~monai_diffae.data.RandDiffusionNoised` draws them as a function of (seed, epoch, index), so that a run
    can be resumed, or split over processes, without any change to what the network sees.

    Args:
        scheduler: its ``prediction_type`` decides the target: noise, x_0 or v.
        to_latent: for a network that works on latents, its
            :meth:`~monai_diffae.networks.LatentSpaceAutoencoder.to_latent`: the target is one of the latents then,
            which samples bring along as ``latent``, or which are computed here where augmented images have none.
    """

    def __init__(
        self,
        scheduler: InvertibleDDIMScheduler,
        to_latent: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        super().__init__(num_train_timesteps=scheduler.num_train_timesteps)
        self.scheduler = scheduler
        self.to_latent = to_latent

    def get_target(self, images: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """What the network has to predict, shape of ``images``."""
        return self.scheduler.training_target(images, noise, timesteps)

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict]:
        """From a batch with ``image``, ``noise`` and ``timesteps`` to (images, target, (), the inferer's keywords)."""
        images, noise = (batchdata[key].to(device, non_blocking=non_blocking, **kwargs) for key in ("image", "noise"))
        timesteps = batchdata["timesteps"].to(device, non_blocking=non_blocking)
        keywords = {"noise": noise, "timesteps": timesteps}
        if self.to_latent is None:
            return images, self.get_target(images, noise, timesteps), (), keywords
        if "latent" in batchdata:
            latent = batchdata["latent"].to(device, non_blocking=non_blocking, **kwargs)
        else:
            latent = self.to_latent(images)
        return images, self.get_target(latent, noise, timesteps), (), keywords | {"latent": latent}


class PredictedImagePrepareBatch(SampledDiffusionPrepareBatch):
    """The same for a loss on the predicted x_0, which needs the timesteps to know what an error is worth."""

    def get_target(self, images: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """``image``, the clean image, and ``timesteps``."""
        return {"image": images, "timesteps": timesteps}


class CompressionPrepareBatch(PrepareBatch):
    """For the compression model (stage 1): images are their own targets."""

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """From a batch with ``image`` to (images, images)."""
        images = batchdata["image"].to(device, non_blocking=non_blocking, **kwargs)
        return images, images
