# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_diffae.networks.compression import Compression
from monai_diffae.networks.diffusion_autoencoder import DiffusionAutoencoder

__all__ = ["LatentSpaceAutoencoder"]


class LatentSpaceAutoencoder(DiffusionAutoencoder):
    """A diffusion autoencoder whose denoiser works on the latents of a compression model, in 2D or 3D.

    The inferers call it as they call one that works on pixels: :meth:`to_latent` comes before their loops and
    :meth:`to_image` after them, and x_T has the shape of the latents. A state dict holds all parts, the compression
    model and its scale factor too, so that none of them can be exchanged under the others.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, in the latent space of
        Rombach et al., CVPR 2022, https://arxiv.org/abs/2112.10752, as Lozupone et al. 2025,
        https://arxiv.org/abs/2504.08635, do it for brain MR.

    Args:
        stage_1: the compression model, trained before and frozen.
        autoencoder: with a decoder of the latents, ``(B, C', *spatial / factor)``, and an encoder of the images, or of
            the latents, as ``encoder_input`` says.
        encoder_input: ``image`` or ``latent``, what the semantic encoder sees.

    Raises:
        ValueError: for another ``encoder_input``, and for a decoder or encoder of other channels or dimensions than
            what it is to see.
    """

    def __init__(self, stage_1: Compression, autoencoder: DiffusionAutoencoder, encoder_input: str = "image") -> None:
        super().__init__(autoencoder.encoder, autoencoder.decoder)
        if encoder_input not in ("image", "latent"):
            raise ValueError(f"encoder_input must be 'image' or 'latent', got {encoder_input!r}.")
        latent = (stage_1.latent_channels, stage_1.spatial_dims)
        seen = latent if encoder_input == "latent" else (stage_1.image_channels, stage_1.spatial_dims)
        for name, part, (channels, dims) in (("decoder", self.decoder, latent), ("encoder", self.encoder, seen)):
            found = tuple(getattr(part, option, None) for option in ("in_channels", "spatial_dims"))
            if None not in found and found != (channels, dims):
                raise ValueError(
                    f"The {name} has in_channels={found[0]} and spatial_dims={found[1]}, but sees "
                    f"{'images' if name == 'encoder' and encoder_input == 'image' else 'latents'} of {channels} "
                    f"channels in {dims} dimensions; set these, or take a compression model of others."
                )
        self.stage_1 = stage_1
        self.encoder_input = encoder_input
        # What sides of images must be multiples of: the latents' sides are multiples of the decoder's own.
        self.divisor = stage_1.factor * int(getattr(self.decoder, "divisor", 1))

    def to_latent(self, images: torch.Tensor) -> torch.Tensor:
        """x_0 of the diffusion: images ``(B, C, *spatial)`` to scaled latents ``(B, C', *spatial / factor)``."""
        return self.stage_1.compress(images)

    def to_image(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents to images, the inverse of :meth:`to_latent` up to what compression loses."""
        return self.stage_1.expand(latents)

    def latent_shape(self, image_shape: Sequence[int]) -> tuple[int, ...]:
        """``(C', *spatial)`` of the latent, and of x_T, of an image ``(C, *spatial)``."""
        return self.stage_1.latent_shape(image_shape)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """``z_sem`` of clean images: ``(B, C, *spatial)`` in [-1, 1] to ``(B, D)``."""
        return self.encoder(self.to_latent(image) if self.encoder_input == "latent" else image)
