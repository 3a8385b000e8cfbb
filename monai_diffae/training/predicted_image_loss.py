# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping

import torch

from monai_diffae.schedulers import InvertibleDDIMScheduler, noise_loss_weight

__all__ = ["PredictedImageLoss"]


class PredictedImageLoss(torch.nn.Module):
    """The noise loss, written as a loss on the predicted x_0, plus an L1 loss on the same.

    MONAI's ``AdversarialTrainer`` gives one output of the generator to the discriminator and to this loss. The
    discriminator has to see images, so the noise loss, ``mean((prediction - target)^2)`` of eps, v or x_0, is computed
    from the predicted x_0 by :func:`~monai_diffae.schedulers.noise_loss_weight`. The L1 loss is an addition to the
    paper. For a network that predicts eps it is dominated by high noise, where an error of eps is up to 158 times
    larger in x_0.

    Args:
        scheduler: its ``prediction_type`` decides the weights of the noise loss.
        reconstruction_weight: of the L1 loss; 0 leaves the paper's loss.

    Raises:
        ValueError: for a negative weight.
    """

    def __init__(self, scheduler: InvertibleDDIMScheduler, reconstruction_weight: float) -> None:
        super().__init__()
        if reconstruction_weight < 0:
            raise ValueError(f"reconstruction_weight must be at least 0, got {reconstruction_weight}.")
        self.scheduler = scheduler
        self.reconstruction_weight = reconstruction_weight

    def forward(self, prediction: torch.Tensor, target: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """
        Args:
            prediction: x_0 as predicted, not clipped, shape ``(B, C, *spatial)``.
            target: ``image``, the true x_0 of the same shape, and ``timesteps``, shape ``(B,)``, as
                :class:`~monai_diffae.training.PredictedImagePrepareBatch` gives them.

        Returns:
            A scalar.
        """
        error = prediction - target["image"]
        squared = error.square().flatten(1).mean(dim=1)
        loss = torch.mean(noise_loss_weight(self.scheduler, target["timesteps"]).to(squared) * squared)
        return loss + self.reconstruction_weight * error.abs().mean()
