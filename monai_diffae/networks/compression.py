# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import VQVAE, AutoencoderKL
from monai.networks.nets.autoencoderkl import AEKLDownsample

__all__ = ["Compression"]


class Compression(nn.Module):
    """A frozen compression model of MONAI (stage 1): images to the latents that a diffusion works on, and back.

    Latents are the posterior's mean (MONAI's ``encode_stage_2_inputs`` draws from the posterior by the global
    generator, so that no two calls agree), times ``scale_factor``. That is 1 / standard deviation of the training set's
    latents once :meth:`fit_scale` was called: a diffusion expects data of about unit variance. It is a buffer and is
    saved with the weights.

    References:
        High-Resolution Image Synthesis with Latent Diffusion Models, Rombach et al., CVPR 2022,
        https://arxiv.org/abs/2112.10752, Sec. 3.1 and App. G (scale factor).

    Args:
        model: a MONAI ``AutoencoderKL`` or ``VQVAE`` of 2D or 3D images; its parameters are frozen, and it stays in
            evaluation mode whatever the mode of the network around it.
        roi_size: sides of the windows, in pixels of the image, that images larger than them are compressed and expanded
            in (MONAI's ``SlidingWindowInferer``, Gaussian weights), so that memory does not grow with the image.
            Windows differ from the whole: the model's norms and attention see a window alone. ``None`` for the whole
            image at once.
        overlap: of the windows, in [0, 1).

    Raises:
        ValueError: for another model, and for ``roi_size`` that the model's factor does not divide.
    """

    scale_factor: torch.Tensor

    def __init__(
        self, model: AutoencoderKL | VQVAE, roi_size: int | Sequence[int] | None = None, overlap: float = 0.25
    ) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.factor = _factor(model)
        self.spatial_dims = next(p.ndim for p in model.parameters() if p.ndim > 2) - 2
        sides = [roi_size] * self.spatial_dims if isinstance(roi_size, int) else list(roi_size or [])
        if sides and (len(sides) != self.spatial_dims or any(side < 1 or side % self.factor for side in sides)):
            raise ValueError(
                f"roi_size must be one number or {self.spatial_dims}, multiples of {self.factor} (the model's factor); "
                f"got {roi_size}."
            )
        self.roi_size = tuple(sides)
        self.overlap = overlap
        self.register_buffer("scale_factor", torch.ones(()))

    def train(self, mode: bool = True) -> Compression:
        """Stays in evaluation mode: it is not trained here."""
        return super().train(False)

    def latent_shape(self, image_shape: Sequence[int]) -> tuple[int, ...]:
        """``(C', *spatial)`` of the latent of an image ``(C, *spatial)``; ValueError unless the factor divides it."""
        self._check_sides(image_shape[1:])
        return (self.latent_channels, *(side // self.factor for side in image_shape[1:]))

    def fit_scale(self, latents: torch.Tensor) -> None:
        """Set the scale factor from unscaled latents of the training set, ``(N, C, *spatial)``.

        Raises:
            ValueError: for latents that do not vary or are not finite.
        """
        std = latents.float().std()
        if not (torch.isfinite(std) and std > 0):
            raise ValueError(f"The latents have standard deviation {float(std):g}; train the compression model first.")
        self.scale_factor.copy_(1 / std)

    @torch.no_grad()
    def compress(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(B, C, *spatial)`` in [-1, 1] to scaled latents ``(B, C', *spatial / factor)``.

        Raises:
            ValueError: for images with other channels or dimensions than the model's, and for sides that its factor
                does not divide: they would come back smaller.
        """
        channels = self.image_channels
        if images.ndim != self.spatial_dims + 2 or images.shape[1] != channels:
            raise ValueError(
                f"The compression model takes images (batch, {channels}, and {self.spatial_dims} spatial sizes), got "
                f"{list(images.shape)}; set in_channels and spatial_dims to those of the images and train it on them."
            )
        self._check_sides(images.shape[2:])
        return self._windowed(images, self.roi_size, self._mean) * self.scale_factor

    @torch.no_grad()
    def expand(self, latents: torch.Tensor) -> torch.Tensor:
        """Scaled latents ``(B, C', *spatial)`` to images ``(B, C, *spatial * factor)`` of about [-1, 1]."""
        roi = tuple(side // self.factor for side in self.roi_size)
        return self._windowed(latents / self.scale_factor, roi, self.model.decode_stage_2_outputs)

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """What compression alone leaves of images of any size: padded by their edges, and cropped again."""
        pads = [(-side) % self.factor for side in images.shape[2:]]
        padded = F.pad(images, [n for pad in reversed(pads) for n in (0, pad)], mode="replicate")
        return self.expand(self.compress(padded))[(..., *(slice(side) for side in images.shape[2:]))]

    def _mean(self, images: torch.Tensor) -> torch.Tensor:
        encoded = self.model.encode(images)
        return encoded[0] if isinstance(encoded, tuple) else encoded

    def _windowed(self, x: torch.Tensor, roi: tuple[int, ...], function: Callable) -> torch.Tensor:
        if not any(side > window for side, window in zip(x.shape[2:], roi)):
            return function(x)
        inferer = SlidingWindowInferer(roi, sw_batch_size=1, overlap=self.overlap, mode="gaussian")
        return inferer(x, function)

    @property
    def image_channels(self) -> int:
        """Channels of the images."""
        return next(p.shape[1] for p in self.model.encoder.parameters() if p.ndim > 2)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        if isinstance(self.model, AutoencoderKL):
            return self.model.latent_channels
        return self.model.embedding_dim

    def _check_sides(self, sides: Sequence[int]) -> None:
        if any(side % self.factor for side in sides):
            fitting = [math.ceil(side / self.factor) * self.factor for side in sides]
            raise ValueError(
                f"The compression model halves every side until it is {self.factor} times smaller, got sides "
                f"{list(sides)}; pad the images to {fitting}."
            )


def _factor(model: nn.Module) -> int:
    """How many times smaller the sides of the latent are."""
    if isinstance(model, AutoencoderKL):
        return 2 ** sum(isinstance(block, AEKLDownsample) for block in model.encoder.blocks)
    if isinstance(model, VQVAE):
        return math.prod(stride for stride, *_ in model.encoder.downsample_parameters)
    raise ValueError(f"Expected a MONAI AutoencoderKL or VQVAE, got {type(model).__name__}.")
