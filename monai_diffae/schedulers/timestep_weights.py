# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from monai_diffae.schedulers.invertible_ddim import InvertibleDDIMScheduler

__all__ = ["timestep_weights"]

_MAX_SNR = 5.0  # gamma of min-SNR
_DENSITIES = ("uniform", "min_snr", "logit_normal")


def timestep_weights(scheduler: InvertibleDDIMScheduler, density: str) -> torch.Tensor | None:
    """How often training draws each timestep, for :class:`~monai_diffae.data.RandDiffusionNoised`.

    - ``uniform``: all alike, as in the paper.
    - ``min_snr``: as the weights of min-SNR (Hang et al., ICCV 2023, gamma of 5) for what the network predicts. That a
      level is drawn more often stands for a larger weight of its loss; the gradient is the same in the mean.
    - ``logit_normal``: ``logit((t + 0.5) / T)`` is standard normal: the middle (Esser et al., ICML 2024).

    Args:
        scheduler: of the training; its ``alphas_cumprod`` and ``prediction_type`` count.
        density: one of the three.

    Returns:
        Shape ``(T,)``, float64, with a mean of 1; None for ``uniform``.

    Raises:
        ValueError: for another density.
    """
    if density not in _DENSITIES:
        raise ValueError(f"timestep_density must be one of {', '.join(_DENSITIES)}, got {density!r}.")
    if density == "uniform":
        return None
    if density == "min_snr":
        alpha_bar = scheduler.alphas_cumprod.double().cpu()
        snr = alpha_bar / (1 - alpha_bar)
        of_x_0 = snr.clamp(max=_MAX_SNR)  # an error of x_0; that of eps is 1 / SNR, that of v 1 / (SNR + 1) of it
        per_unit = {"epsilon": 1 / snr, "sample": torch.ones_like(snr), "v_prediction": 1 / (snr + 1)}
        weights = of_x_0 * per_unit[scheduler.prediction_type]
    else:
        place = (torch.arange(scheduler.num_train_timesteps, dtype=torch.float64) + 0.5) / scheduler.num_train_timesteps
        weights = torch.exp(-(torch.logit(place) ** 2) / 2) / (place * (1 - place))
    return weights / weights.mean()
