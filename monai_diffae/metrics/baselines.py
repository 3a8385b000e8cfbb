# SPDX-License-Identifier: Apache-2.0
"""The simple things that z_sem has to beat."""

from __future__ import annotations

import copy

import torch
import torch.nn as nn
from sklearn.decomposition import PCA

__all__ = ["PixelComponents", "untrained_copy"]


class PixelComponents:
    """Principal components of the pixels, fitted to a set of images: as many numbers an image as z_sem has, or as many
    as the images allow.

    Args:
        images: shape ``(N, C, *spatial)``.
        num_components: of them; fewer where there are fewer pixels, or no more images: N of them differ in N - 1 ways.
    """

    def __init__(self, images: torch.Tensor, num_components: int) -> None:
        flat = images.flatten(1).cpu().double().numpy()
        self.num_components = min(num_components, max(1, len(flat) - 1), flat.shape[1])
        self.pca = PCA(self.num_components, random_state=0).fit(flat)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Coordinates of ``(B, C, *spatial)`` images, float64 of shape ``(B, num_components)``."""
        return torch.from_numpy(self.pca.transform(images.flatten(1).cpu().double().numpy()))

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """The images that the components of ``(B, C, *spatial)`` images give."""
        flat = self.pca.inverse_transform(self.encode(images).numpy())
        return torch.from_numpy(flat).reshape(images.shape).to(images)


def untrained_copy(network: nn.Module, seed: int = 0) -> nn.Module:
    """The same network with new random weights, in evaluation mode; the random state outside is left as it is.

    Every module draws its own (``reset_parameters``); a network that sets some of its weights to 0 in its constructor
    has those of its modules' kinds here.

    Args:
        network: whose modules with parameters of their own have ``reset_parameters``.
        seed: of the weights.

    Raises:
        ValueError: for a module with parameters that has no such method.
    """
    fresh = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, module in fresh.cpu().named_modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            elif list(module.parameters(recurse=False)):
                raise ValueError(f"{name} ({type(module).__name__}) cannot be given new random weights.")
    return fresh.to(next(network.parameters()).device).eval()
