# SPDX-License-Identifier: Apache-2.0
"""The clean image that a prediction stands for, at any timesteps, and what an error in it means for the noise loss."""

from __future__ import annotations

import torch
from monai.utils import unsqueeze_right

from monai_diffae.schedulers.invertible_ddim import InvertibleDDIMScheduler, Prediction

__all__ = ["noise_loss_weight", "predicted_image"]


def predicted_image(
    scheduler: InvertibleDDIMScheduler, model_output: torch.Tensor, sample: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """The predicted x_0, never clipped, for a batch in which every sample has its own timestep.

    ``x_0 = (x_t - sqrt(1 - alpha_bar) eps) / sqrt(alpha_bar) = sqrt(alpha_bar) x_t - sqrt(1 - alpha_bar) v``

    Args:
        scheduler: its ``prediction_type`` tells what ``model_output`` is.
        model_output: the network's prediction, shape ``(B, ...)``.
        sample: x_t, same shape.
        timesteps: integers in [0, T), shape ``(B,)``.
    """
    if scheduler.prediction_type == Prediction.SAMPLE:
        return model_output
    alpha_bar = _alpha_bar(scheduler, timesteps)
    signal, noise = (
        unsqueeze_right(root, sample.ndim).to(sample) for root in (alpha_bar.sqrt(), (1 - alpha_bar).sqrt())
    )
    if scheduler.prediction_type == Prediction.EPSILON:
        return (sample - noise * model_output) / signal
    return signal * sample - noise * model_output


def noise_loss_weight(scheduler: InvertibleDDIMScheduler, timesteps: torch.Tensor) -> torch.Tensor:
    """What the squared error of the predicted x_0 has to be multiplied by to be that of the network's own prediction.

    The error of x_0 is the error of eps times ``-sqrt(1 - alpha_bar) / sqrt(alpha_bar)``, or the error of v times
    ``-sqrt(1 - alpha_bar)``; so the weight is ``alpha_bar / (1 - alpha_bar)`` for eps, ``1 / (1 - alpha_bar)`` for v,
    and 1 for x_0 itself.

    Args:
        scheduler: its ``prediction_type`` decides.
        timesteps: integers in [0, T), shape ``(B,)``.

    Returns:
        Weights, float64, shape ``(B,)``.
    """
    alpha_bar = _alpha_bar(scheduler, timesteps)
    if scheduler.prediction_type == Prediction.SAMPLE:
        return torch.ones_like(alpha_bar)
    return (alpha_bar if scheduler.prediction_type == Prediction.EPSILON else 1) / (1 - alpha_bar)


def _alpha_bar(scheduler: InvertibleDDIMScheduler, timesteps: torch.Tensor) -> torch.Tensor:
    return scheduler.alphas_cumprod[timesteps.to(scheduler.alphas_cumprod.device).long()]
