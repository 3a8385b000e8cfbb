# SPDX-License-Identifier: Apache-2.0
"""The clean image that a prediction stands for, at any timesteps, and what an error in it means for the noise loss."""

from __future__ import annotations

import torch

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
    signal, noise = scheduler.signal_and_noise(sample, timesteps)
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
        Weights, shape ``(B,)``, where the timesteps are; float64, but float32 on MPS.
    """
    signal, noise = scheduler.roots_on(timesteps.device)[:, timesteps.long()]
    if scheduler.prediction_type == Prediction.SAMPLE:
        return torch.ones_like(noise)
    return ((signal if scheduler.prediction_type == Prediction.EPSILON else 1) / noise).square()
