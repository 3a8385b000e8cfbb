# SPDX-License-Identifier: Apache-2.0
"""Noise schedules that MONAI lacks, registered with its ``NoiseSchedules`` under their names."""

from __future__ import annotations

import torch
from monai.networks.schedulers import NoiseSchedules

__all__ = ["constant_beta"]


@NoiseSchedules.add_def("constant_beta", "The same beta at every timestep, the latent diffusion's schedule")
def constant_beta(num_train_timesteps: int, beta: float = 0.008) -> torch.Tensor:
    """``beta_t = beta``, in float64, shape ``(num_train_timesteps,)``.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Table 5.

    Raises:
        ValueError: unless ``0 < beta < 1``.
    """
    if not 0 < beta < 1:
        raise ValueError(f"beta must be between 0 and 1, got {beta}.")
    return torch.full((num_train_timesteps,), beta, dtype=torch.float64)
