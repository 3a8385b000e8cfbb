# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.latent_space import noised, to_latent
from monai_diffae.inferers.metadata import plain
from monai_diffae.inferers.stochastic_code import StochasticCode
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.support.precision import check_precision, mixed_precision

__all__ = ["NoiseLosses"]


class NoiseLosses:
    """How well a network predicts the noise in an image, knowing the image's own z_sem: the loss of the training, at a
    few levels of noise. Images that it does not know may be denoised worse.

    The noise of a level is a function of (seed, level) and the same for every image.

    Args:
        network: a :class:`~monai_diffae.networks.DiffusionAutoencoder` with its weights.
        scheduler: of its training.
        precision: see :class:`~monai_diffae.inferers.DiffusionAutoencoderInferer`.
        seed: of the noise.
        levels: percent of the timesteps, an evaluation of the network each.

    Raises:
        ValueError: for an unknown precision, and for levels that are not in [0, 100).
    """

    def __init__(
        self,
        network: Callable,
        scheduler: InvertibleDDIMScheduler,
        precision: str = "float32",
        seed: int = 0,
        levels: Sequence[int] = (25, 50, 75),
    ) -> None:
        if not levels or not all(0 <= level < 100 for level in levels):
            raise ValueError(f"levels must be percents of the timesteps, from 0 to below 100; got {list(levels)}.")
        self.network, self.scheduler, self.precision = network, scheduler, check_precision(precision)
        self.noise, self.levels = StochasticCode("random", seed), list(levels)

    @inference
    def __call__(self, image: torch.Tensor, z_sem: torch.Tensor) -> dict[str, float]:
        """
        Args:
            image: in [-1, 1], shape ``(C, *spatial)``.
            z_sem: its code, shape ``(D,)``, on the device of the network.

        Returns:
            ``noise_loss_25``, ``noise_loss_50`` and so on: the mean squared error of the prediction, of what the
            scheduler's ``prediction_type`` says.
        """
        count, context = len(self.levels), plain(z_sem).flatten().float()
        images = plain(image)[None].to(context).expand(count, *image.shape)
        noise = self.noise.draw_all(images, self.levels, self.network)
        steps = [level * self.scheduler.num_train_timesteps // 100 for level in self.levels]
        timesteps = torch.tensor(steps, device=context.device)
        clean = to_latent(images, self.network)
        x_t = noised(self.scheduler, images, self.network, noise, timesteps, clean)
        with mixed_precision(self.precision, context.device):
            prediction = self.network(x_t, timesteps, context=context.expand(count, -1))
        error = (prediction.float() - self.scheduler.training_target(clean, noise, timesteps)).square()
        losses = error.flatten(1).mean(dim=1).tolist()
        return {f"noise_loss_{level}": loss for level, loss in zip(self.levels, losses)}
