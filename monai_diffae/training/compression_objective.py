# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn as nn
from monai.inferers import Inferer
from monai.utils import convert_to_tensor

from monai_diffae.support.precision import check_precision, mixed_precision

__all__ = ["CompressionObjective"]


class CompressionObjective(Inferer):
    """The generator's call and loss of an ``AutoencoderKL`` under MONAI's ``AdversarialTrainer``.

    That trainer gives the same result of the generator to the discriminator and to the reconstruction loss, so that
    the posterior, which the KL term needs, has no way from one to the other: this object is both, and keeps it from the
    call to the loss that follows.

    References:
        High-Resolution Image Synthesis with Latent Diffusion Models, Rombach et al., CVPR 2022,
        https://arxiv.org/abs/2112.10752, App. G, Eq. 25 (without the adversarial term, which the trainer adds).

    Args:
        kl_weight: of the KL divergence of the posterior from a standard normal, per number of the image: small (1e-6),
            so that latents stay near zero without losing detail.
        perceptual_loss: of (reconstruction, image), e.g. MONAI's ``PerceptualLoss`` with weights at hand (it would
            download them); ``None`` for none.
        perceptual_weight: of it.
        precision: of the generator's call: ``float32``, ``bfloat16`` or ``float16``. Losses are float32.

    Raises:
        ValueError: for a negative weight or an unknown precision.

    Example:
        >>> objective = CompressionObjective(kl_weight=1e-6)
        >>> trainer = AdversarialTrainer(g_inferer=objective, recon_loss_function=objective.loss, ...)  # doctest: +SKIP
    """

    def __init__(
        self,
        kl_weight: float = 1e-6,
        perceptual_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        perceptual_weight: float = 0.1,
        precision: str = "float32",
    ) -> None:
        if kl_weight < 0 or perceptual_weight < 0:
            raise ValueError(f"Weights must be 0 or more, got kl {kl_weight} and perceptual {perceptual_weight}.")
        self.kl_weight = kl_weight
        self.perceptual_loss = perceptual_loss
        self.perceptual_weight = perceptual_weight
        self.precision = check_precision(precision)
        self.kl: torch.Tensor | None = None

    def __call__(self, inputs: torch.Tensor, network: nn.Module) -> torch.Tensor:  # type: ignore[override]
        """
        Args:
            inputs: images in [-1, 1], shape ``(B, C, *spatial)``.
            network: an ``AutoencoderKL``, wrapped or not. It samples its posterior by PyTorch's global generator, which
                our trainers seed in every iteration.

        Returns:
            The reconstruction of a sample of the posterior, shape of ``inputs``.
        """
        images = convert_to_tensor(inputs, track_meta=False)
        with mixed_precision(self.precision, images.device):
            outputs = network(images)
        reconstruction, mean, sigma = (output.to(images.dtype) for output in outputs)
        self.kl = kl_divergence(mean, sigma) / images[0].numel()
        return reconstruction

    def loss(self, reconstruction: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """L1 + KL (+ perceptual), a scalar, for the reconstruction of the last call.

        Raises:
            RuntimeError: without a call before.
        """
        if self.kl is None:
            raise RuntimeError("There is no posterior: this loss belongs to the call of the same object before it.")
        loss = (reconstruction - images).abs().mean() + self.kl_weight * self.kl.mean()
        if self.perceptual_loss is not None:
            loss = loss + self.perceptual_weight * self.perceptual_loss(reconstruction, images).mean()
        self.kl = None
        return loss


def kl_divergence(mean: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """From N(mean, sigma^2) to N(0, 1), summed over all but the batch: ``(B, C, *spatial) -> (B,)``."""
    variance = sigma.square()
    return 0.5 * (mean.square() + variance - variance.log() - 1).flatten(1).sum(dim=1)
