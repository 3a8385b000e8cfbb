# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import torch
from monai.inferers import Inferer

from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.latent_space import noised
from monai_diffae.inferers.metadata import plain
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.support.precision import check_precision, mixed_precision

__all__ = ["SemanticGapInferer"]


class SemanticGapInferer(Inferer):
    """Predicts with the image's own z_sem and with that of another image of the batch, for validation.

    The two predictions are made from the same noised images and timesteps, so that their losses differ by what z_sem
    tells and by nothing else. The other image is the one half a batch away: always another one (of a batch of two or
    more), always the same one, and no neighbour, which in slices of a volume would look nearly alike.

    Args:
        scheduler: noises the images.
        precision: see :class:`~monai_diffae.inferers.DiffusionAutoencoderInferer`.

    Raises:
        ValueError: for an unknown precision.
    """

    def __init__(self, scheduler: InvertibleDDIMScheduler, precision: str = "float32") -> None:
        self.scheduler = scheduler
        self.precision = check_precision(precision)

    @inference
    def __call__(  # type: ignore[override]
        self,
        inputs: torch.Tensor,
        network: Callable,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        latent: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """With the arguments of a training call (:class:`~monai_diffae.inferers.DiffusionAutoencoderInferer`).

        Returns:
            ``prediction`` and ``shuffled_prediction``, shape of ``inputs``; the same for a batch of one.
        """
        images = plain(inputs)
        x_t = noised(self.scheduler, images, network, noise, timesteps, latent)
        others = images.roll(len(images) // 2, dims=0)
        with mixed_precision(self.precision, images.device):
            prediction, shuffled = (network(x_t, timesteps, image=x) for x in (images, others))
        return {"prediction": prediction.float(), "shuffled_prediction": shuffled.float()}
