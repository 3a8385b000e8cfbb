# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn as nn
from monai.inferers import DiffusionInferer, Inferer

from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer, StochasticCode, like_input, plain
from monai_diffae.randomness import derive_seed
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import LatentStatistics

__all__ = ["SamplingInferer"]


class SamplingInferer(Inferer):
    """Images from nothing: z_sem from the latent diffusion, x_T from a normal distribution, decoded.

    The k-th image is a function of (seed, k), whatever else is in its batch.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 4.

    Args:
        inferer: the loops of the image; only decoding is used.
        latent_network: predicts the noise in a normalised z_sem, ``(x, timesteps, context=None)`` on ``(B, D)``: a
            :class:`~monai_diffae.networks.LatentDenoiser` in evaluation mode, on the device of the image network.
        latent_scheduler: of the latent diffusion.
        statistics: of z_sem; its ``D`` is that of the latent network.
        image_shape: ``(C, *spatial)`` of the images.
        num_latent_inference_steps: evaluations of the latent network.
        x_T: ``random`` or ``zeros``.
        seed: of the samples.

    Raises:
        ValueError: for another ``x_T``.
    """

    def __init__(
        self,
        inferer: DiffusionAutoencoderInferer,
        latent_network: nn.Module,
        latent_scheduler: InvertibleDDIMScheduler,
        statistics: LatentStatistics,
        image_shape: Sequence[int],
        num_latent_inference_steps: int = 100,
        x_T: str = "random",
        seed: int = 0,
    ) -> None:
        if x_T not in ("random", "zeros"):
            raise ValueError(f"x_T must be 'random' or 'zeros' (there is no image to encode), got {x_T!r}.")
        self.inferer = inferer
        self.latent_network = latent_network
        self.latent_inferer = DiffusionInferer(latent_scheduler)
        self.statistics = statistics
        self.image_shape = tuple(image_shape)
        self.num_latent_inference_steps = num_latent_inference_steps
        self.x_T = x_T
        self.seed = seed

    def generator(self, k: int, j: int = 0) -> torch.Generator:
        """Of the j-th z_sem that is drawn for sample k; x_T has (seed, k), so the numbers here start from 1."""
        return torch.Generator().manual_seed(derive_seed(self.seed, k, 1 + j))

    @torch.no_grad()
    def denoise_latents(self, noise: torch.Tensor) -> torch.Tensor:
        """The latent DDIM: standard normal noise ``(B, D)`` to raw z_sem ``(B, D)``."""
        scheduler = self.latent_inferer.scheduler
        scheduler.set_timesteps(self.num_latent_inference_steps)
        z_normalized = self.latent_inferer.sample(noise, self.latent_network, verbose=False)
        return self.statistics.to(noise.device).denormalize(z_normalized)

    def sample_latents(self, indices: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """``z_sem`` ``(B, D)`` of the samples, and what else there is to tell about them, ``(B,)`` each."""
        z_dim = len(self.statistics.mean)
        noise = torch.cat([torch.randn(1, z_dim, generator=self.generator(k)) for k in indices])
        return {"z_sem": self.denoise_latents(noise.to(device))}

    @torch.no_grad()
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: the numbers k of the samples, integers of shape ``(B,)`` or ``(B, 1)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.

        Returns:
            ``z_sem`` ``(B, D)``, and ``sample``, images of about [-1, 1] with the metadata of ``inputs``, shape
            ``(B, *image_shape)``.

        Raises:
            ValueError: for inputs of another shape or kind.
        """
        numbers = plain(inputs)
        if numbers.is_floating_point() or numbers.ndim not in (1, 2) or numbers[0].numel() != 1:
            raise ValueError(
                f"Expected numbers of samples, integers of shape (B,) or (B, 1), got {numbers.dtype} of shape "
                f"{list(numbers.shape)}."
            )
        indices = numbers.flatten().tolist()
        latents = self.sample_latents(indices, numbers.device)
        template = torch.empty((1, *self.image_shape), device=numbers.device)
        if self.x_T == "random":
            code = StochasticCode("random", self.seed)
            x_T = torch.cat([code.draw(template, k) for k in indices])
        else:
            x_T = torch.zeros_like(template)
        sample = self.inferer.decode(latents["z_sem"], x_T, network)
        return latents | {"sample": like_input(sample, inputs)}

    def __call__(self, inputs: torch.Tensor, network: Callable) -> torch.Tensor:  # type: ignore[override]
        """The samples of :meth:`predict`."""
        return self.predict(inputs, network)["sample"]
