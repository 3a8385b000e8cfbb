# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from monai_diffae.inferers.exact_inversion import Inversion
from monai_diffae.inferers.latent_space import code_shape
from monai_diffae.inferers.metadata import plain
from monai_diffae.support.randomness import derive_seed

if TYPE_CHECKING:
    from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer

__all__ = ["Autoencoded", "StochasticCode"]


class Autoencoded(NamedTuple):
    """Images, their codes and what decoding makes of these."""

    images: torch.Tensor
    z_sem: torch.Tensor
    code: Inversion
    reconstruction: torch.Tensor


class StochasticCode:
    """Where x_T comes from.

    Args:
        x_T: ``encode`` (the image's own, by inversion), ``random`` or ``zeros``.
        seed: of the random x_T. The k-th draw is a function of (seed, k) and is the same for every image, so that
            results depend neither on the batch size nor on the other images.

    Raises:
        ValueError: for another ``x_T``.
    """

    depends_on = ("x_T", "seed")

    def __init__(self, x_T: str = "encode", seed: int = 0) -> None:
        if x_T not in ("encode", "random", "zeros"):
            raise ValueError(f"x_T must be 'encode', 'random' or 'zeros', got {x_T!r}.")
        self.x_T = x_T
        self.seed = seed

    def __call__(
        self, images: torch.Tensor, network: Callable, z_sem: torch.Tensor, inferer: DiffusionAutoencoderInferer
    ) -> torch.Tensor:
        """x_T for ``images`` of shape ``(B, C, *spatial)``: same shape (or that of their latents), or one row where it
        is shared."""
        return self.with_report(images, network, z_sem, inferer).x_T

    def with_report(
        self, images: torch.Tensor, network: Callable, z_sem: torch.Tensor, inferer: DiffusionAutoencoderInferer
    ) -> Inversion:
        """The same, and for each image what it cost (nothing, if it is not encoded) and how exact it is."""
        if self.x_T == "encode":
            return inferer.invert_with_report(images, network, z_sem)
        x_T = self.draw(images, network=network)
        return Inversion.unchecked(x_T, len(images), 0)

    def autoencoded(self, inputs: torch.Tensor, network: Callable, inferer: DiffusionAutoencoderInferer) -> Autoencoded:
        """``inputs`` without metadata, their z_sem, this x_T, and both decoded."""
        images = plain(inputs)
        z_sem = inferer.encode(images, network)
        code = self.with_report(images, network, z_sem, inferer)
        return Autoencoded(images, z_sem, code, inferer.decode(z_sem, code.x_T, network))

    def draw(self, images: torch.Tensor, k: int = 0, network: Callable | None = None) -> torch.Tensor:
        """The k-th random x_T, or zeros, for images of this shape, ``(1, C, *spatial)``, and this network."""
        return self.draw_all(images, [k], network)

    def draw_all(self, images: torch.Tensor, ks: Sequence[int], network: Callable | None = None) -> torch.Tensor:
        """The draws of these numbers, ``(K, C, *spatial)``, or ``(1, C, *spatial)`` of zeros, which all share. They are
        made on the CPU, so that they are the same everywhere, and copied at once."""
        shape = (1, *code_shape(images.shape[1:], network))
        if self.x_T == "zeros":
            return plain(images).new_zeros(shape)
        generators = [torch.Generator().manual_seed(derive_seed(self.seed, k)) for k in ks]
        return torch.cat([torch.randn(shape, generator=each) for each in generators]).to(plain(images))
