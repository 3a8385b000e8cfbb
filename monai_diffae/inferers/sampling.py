# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer
from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.metadata import like_input, plain
from monai_diffae.inferers.predicting import PredictingInferer
from monai_diffae.inferers.stochastic_code import StochasticCode

__all__ = ["SamplingInferer"]


class SamplingInferer(PredictingInferer):
    """Images from nothing: z_sem from the latent diffusion, x_T from a normal distribution, decoded.

    The k-th image is a function of (seed, k), whatever else is in its batch.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 4.

    Args:
        inferer: the loops of the image; only decoding is used.
        latent_sampler: from the numbers of the samples and a device to a dictionary with ``z_sem`` ``(B, D)``:
            :class:`~monai_diffae.inferers.LatentSampler` or
            :class:`~monai_diffae.inferers.ConditionalLatentSampler`.
        image_shape: ``(C, *spatial)`` of the images.
        x_T: ``random`` or ``zeros``.
        seed: of the random x_T.

    Raises:
        ValueError: for another ``x_T``.
    """

    called_for = "sample"
    depends_on = ("inferer", "latent_sampler", "image_shape", "stochastic_code")

    def __init__(
        self,
        inferer: DiffusionAutoencoderInferer,
        latent_sampler: Callable[[Sequence[int], torch.device], dict[str, torch.Tensor]],
        image_shape: Sequence[int],
        x_T: str = "random",
        seed: int = 0,
    ) -> None:
        if x_T not in ("random", "zeros"):
            raise ValueError(f"x_T must be 'random' or 'zeros' (there is no image to encode), got {x_T!r}.")
        self.inferer = inferer
        self.latent_sampler = latent_sampler
        self.image_shape = tuple(image_shape)
        self.x_T = x_T
        self.stochastic_code = StochasticCode(x_T, seed)

    @inference
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: the numbers k of the samples, integers of shape ``(B,)`` or ``(B, 1)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.

        Returns:
            ``sample``, images of about [-1, 1] with the metadata of ``inputs``, shape ``(B, *image_shape)``, and all
            that the latent sampler tells, ``z_sem`` ``(B, D)`` above all.

        Raises:
            ValueError: for inputs of another shape or kind.
        """
        numbers = plain(inputs)
        if numbers.is_floating_point() or numbers.shape not in ((len(numbers),), (len(numbers), 1)):
            raise ValueError(
                f"Expected numbers of samples, integers of shape (B,) or (B, 1), got {numbers.dtype} of shape "
                f"{list(numbers.shape)}."
            )
        indices = numbers.flatten().tolist()
        latents = self.latent_sampler(indices, numbers.device)
        like = torch.empty((1, *self.image_shape), device=numbers.device)
        x_T = self.stochastic_code.draw_all(like, indices, network)
        sample = self.inferer.decode(latents["z_sem"], x_T, network)
        return latents | {"sample": like_input(sample, inputs)}
