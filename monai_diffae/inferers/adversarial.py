# SPDX-License-Identifier: Apache-2.0
"""How MONAI's AdversarialTrainer calls its generator and its discriminator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer

from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer
from monai_diffae.inferers.metadata import plain
from monai_diffae.schedulers import predicted_image

__all__ = ["DiscriminatorInferer", "PredictedImageInferer"]


class PredictedImageInferer(Inferer):
    """The training call of a diffusion autoencoder, with the predicted x_0 as its result.

    Args:
        inferer: makes the network's prediction.
    """

    def __init__(self, inferer: DiffusionAutoencoderInferer) -> None:
        self.inferer = inferer

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: Callable, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """Arguments as of :class:`~monai_diffae.inferers.DiffusionAutoencoderInferer`.

        Returns:
            x_0, shape ``(B, C, *spatial)``, not clipped: about [-1, 1] for a trained network.
        """
        scheduler = self.inferer.scheduler
        noised = scheduler.add_noise(plain(inputs), plain(noise), timesteps)
        return predicted_image(scheduler, self.inferer(inputs, network, noise, timesteps), noised, timesteps)


class DiscriminatorInferer(Inferer):
    """Calls a ``PatchDiscriminator`` on images only and returns its logits only.

    MONAI's ``AdversarialTrainer`` hands the generator's keywords (noise, timesteps) to the discriminator as well,
    which takes none; and ``PatchDiscriminator`` returns the features of all layers, of which the last are the logits.
    """

    def __call__(self, inputs: torch.Tensor, network: Callable, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits of the patches, ``(B, 1, *smaller)``, of images ``(B, C, *spatial)``."""
        return network(plain(inputs))[-1]
