# SPDX-License-Identifier: Apache-2.0
"""Where a network's diffusion takes place: in the latents of its compression model, or in the pixels as they are.

:class:`~monai_diffae.networks.LatentSpaceAutoencoder` says how to go there and back; any other network, or function,
works on the images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from monai_diffae.inferers.metadata import plain

__all__ = ["code_shape", "noised", "to_image", "to_latent"]


def _unwrapped(network: Callable | None) -> Callable | None:
    return getattr(network, "module", network)  # of DistributedDataParallel


def to_latent(images: torch.Tensor, network: Callable) -> torch.Tensor:
    """x_0 of the diffusion, from images ``(B, C, *spatial)``."""
    network = _unwrapped(network)
    return network.to_latent(images) if hasattr(network, "to_latent") else images


def to_image(x: torch.Tensor, network: Callable) -> torch.Tensor:
    """Images, from x_0 of the diffusion."""
    network = _unwrapped(network)
    return network.to_image(x) if hasattr(network, "to_image") else x


def code_shape(image_shape: Sequence[int], network: Callable | None) -> tuple[int, ...]:
    """``(C, *spatial)`` of x_T for images of ``(C, *spatial)``."""
    network = _unwrapped(network)
    return network.latent_shape(image_shape) if hasattr(network, "latent_shape") else tuple(image_shape)


def noised(
    scheduler: Any,
    images: torch.Tensor,
    network: Callable,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    latent: torch.Tensor | None,
) -> torch.Tensor:
    """x_t of a training call, from clean images, or from their latents where those are known."""
    x_0 = to_latent(images, network) if latent is None else plain(latent)
    return scheduler.add_noise(x_0, plain(noise), timesteps)
