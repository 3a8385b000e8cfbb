# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding

__all__ = ["LatentDenoiser"]


class ModulatedLinear(nn.Module):
    """Hidden layer of the latent denoiser: ``SiLU(LayerNorm((1 + Linear(SiLU(t))) * Linear(h)))``.

    Args:
        in_features: length of the input.
        out_features: length of the output.
        time_embed_dim: length of the timestep embedding.
        dropout: dropout probability of the output.
    """

    def __init__(self, in_features: int, out_features: int, time_embed_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.time_proj = nn.Linear(time_embed_dim, out_features)
        self.norm = nn.LayerNorm(out_features)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.linear, self.time_proj):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, h: torch.Tensor, time_embedding: torch.Tensor) -> torch.Tensor:
        h = self.linear(h) * (1 + self.time_proj(F.silu(time_embedding)))
        return self.dropout(F.silu(self.norm(h)))


class LatentDenoiser(nn.Module):
    """The denoiser of the latent diffusion: predicts the noise in a normalised z_sem, ``eps(z_t, t)``.

    A perceptron that sees its input again in every layer but the first. Driven by MONAI's ``DiffusionInferer`` and
    ``DiffusionPrepareBatch`` as an image network is, on tensors ``(B, D)``.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 4 and Table 5;
        numerics as in the authors' ``model/latentnet.py`` (``MLPSkipNet``).

    Args:
        z_dim: length D of z_sem.
        hidden_dim: length of the hidden layers.
        num_layers: linear layers, the first and the last included; 2 or more.
        time_channels: length of the sinusoidal timestep embedding.
        dropout: dropout probability in the hidden layers.

    Raises:
        ValueError: for fewer than two layers, and in ``forward`` for inputs of another shape or a ``context``.

    Example:
        >>> denoiser = LatentDenoiser(z_dim=64, hidden_dim=256, num_layers=4)
        >>> denoiser(torch.zeros(3, 64), torch.tensor([0, 10, 999])).shape
        torch.Size([3, 64])
    """

    def __init__(
        self,
        *,
        z_dim: int,
        hidden_dim: int = 2048,
        num_layers: int = 10,
        time_channels: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if num_layers < 2:
            raise ValueError(f"num_layers must be 2 or more, got {num_layers}.")
        self.z_dim = z_dim
        self.time_channels = time_channels
        self.time_embed = nn.Sequential(nn.Linear(time_channels, z_dim), nn.SiLU(), nn.Linear(z_dim, z_dim))
        self.layers = nn.ModuleList(
            ModulatedLinear(z_dim if i == 0 else hidden_dim + z_dim, hidden_dim, z_dim, dropout)
            for i in range(num_layers - 1)
        )
        self.out = nn.Linear(hidden_dim + z_dim, z_dim)

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            x: noised, normalised z_sem, shape ``(B, z_dim)``.
            timesteps: shape ``(B,)`` or ``(1,)``, integers or floats in [0, num_train_timesteps).
            context: must be None; there for the callers that pass it.

        Returns:
            The prediction, shape ``(B, z_dim)``.
        """
        if context is not None:
            raise ValueError("LatentDenoiser is not conditioned: context must be None.")
        if x.dim() != 2 or x.shape[1] != self.z_dim:
            raise ValueError(f"Expected normalised z_sem of shape (batch, {self.z_dim}), got {list(x.shape)}.")
        if timesteps.shape not in ((1,), (x.shape[0],)):
            raise ValueError(f"timesteps must have shape (1,) or ({x.shape[0]},), got {tuple(timesteps.shape)}.")
        embedding = get_timestep_embedding(timesteps.to(x.device), self.time_channels)
        embedding = self.time_embed(embedding.to(self.out.weight.dtype))
        h = x
        for i, layer in enumerate(self.layers):
            h = layer(h if i == 0 else torch.cat([h, x], dim=1), embedding)
        return self.out(torch.cat([h, x], dim=1))
