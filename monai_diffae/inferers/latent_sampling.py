# SPDX-License-Identifier: Apache-2.0
"""z_sem from nothing, by the latent diffusion: any, or those of a class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.inferers import DiffusionInferer

from monai_diffae.inferers.inference import inference, moved
from monai_diffae.inferers.mixed_precision import MixedPrecisionInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections, LatentStatistics
from monai_diffae.support.precision import shared_casts
from monai_diffae.support.randomness import derive_seed

__all__ = ["ConditionalLatentSampler", "LatentSampler"]

_CANDIDATES = 128  # codes denoised at once: the latent network is small, so that a batch of one costs as much


class LatentSampler:
    """Draws z_sem: noise through the latent DDIM, de-normalised. The k-th z_sem is a function of (seed, k).

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 4.

    Args:
        network: predicts the noise in a normalised z_sem, ``(x, timesteps, context=None)`` on ``(B, D)``: a
            :class:`~monai_diffae.networks.LatentDenoiser`. It is called as it is: in evaluation mode, on the device
            of the samples.
        scheduler: of the latent diffusion; :class:`~monai_diffae.schedulers.MultistepDDIMScheduler` needs fewer steps.
        statistics: of z_sem; its D is that of the network.
        num_inference_steps: evaluations of the network. DDIM contracts: of normal codes the deviation that is left is
            0.81 with 20 steps, 0.95 with 100 and 0.99 with 500 (the schedule's own; they are cheap). Steps of second
            order leave all of it.
        seed: of the samples.
        precision: of the network: ``float32``, ``bfloat16`` or ``float16``. Between steps, and in the end, float32.

    Raises:
        ValueError: for another precision.
    """

    def __init__(
        self,
        network: nn.Module,
        scheduler: InvertibleDDIMScheduler,
        statistics: LatentStatistics,
        num_inference_steps: int = 500,
        seed: int = 0,
        precision: str = "float32",
    ) -> None:
        self.network = network
        self.inferer = MixedPrecisionInferer(DiffusionInferer(scheduler), precision)
        self.statistics = statistics
        self.num_inference_steps = num_inference_steps
        self.seed = seed

    def generator(self, k: int, j: int = 0) -> torch.Generator:
        """Of the j-th z_sem drawn for sample k. Its x_T has (seed, k), or (seed, k, 0): numbers here start from 1."""
        return torch.Generator().manual_seed(derive_seed(self.seed, k, 1 + j))

    def noise(self, generator: torch.Generator) -> torch.Tensor:
        """Standard normal, ``(1, D)``, on the CPU so that it is the same whatever the device."""
        return torch.randn(1, len(self.statistics.mean), generator=generator)

    @inference
    def denoise(self, noise: torch.Tensor) -> torch.Tensor:
        """The latent DDIM: standard normal noise ``(B, D)`` to raw z_sem ``(B, D)``."""
        inferer, precision = self.inferer.inferer, self.inferer.precision
        inferer.scheduler.set_timesteps(self.num_inference_steps)
        with shared_casts(precision, noise.device):
            z_normalized = inferer.sample(noise, self.inferer.network(self.network, noise), verbose=False)
        return moved(self.statistics, noise.device).denormalize(z_normalized)

    def __call__(self, indices: Sequence[int], device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """``z_sem`` ``(B, D)`` of the samples with these numbers."""
        noise = torch.cat([self.noise(self.generator(k)) for k in indices])
        return {"z_sem": self.denoise(noise.to(device))}


class ConditionalLatentSampler:
    """Draws z_sem of a class: a code of the latent diffusion is accepted with the probability a classifier gives it.

    Rejection sampling: from codes of density p(z), those of density proportional to ``p(z) p(class | z)`` are left. The
    j-th try of sample k is a function of (seed, k, j), and the first accepted one is taken, so that a sample does not
    depend on its batch.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.4.

    Args:
        sampler: of the codes.
        attributes: holds the classifier, of :func:`~monai_diffae.semantics.fit_few_shot` for one.
        attribute: its name.
        max_tries: for each sample, 1 or more.
        prior: share of the class in the data, in (0, 1). The classifier is trained on balanced classes;
            :meth:`~monai_diffae.semantics.AttributeSummary.probability` is Bayes' rule for classes that are not. For a
            rare class the share keeps out the many codes of other classes that 0.5 takes for likely.

    Raises:
        ValueError: for numbers out of range, or an attribute that is unknown or not binary.
        RuntimeError: when it is called and none of ``max_tries`` codes is accepted for a sample.
    """

    def __init__(
        self,
        sampler: LatentSampler,
        attributes: AttributeDirections,
        attribute: str,
        max_tries: int = 1000,
        prior: float = 0.5,
    ) -> None:
        if max_tries < 1 or not 0 < prior < 1:
            raise ValueError(f"Expected max_tries of 1 or more and prior in (0, 1), got {max_tries} and {prior}.")
        attributes.summary(attribute).probability(torch.zeros(1), prior)  # for its errors
        self.sampler = sampler
        self.attributes = attributes
        self.attribute = attribute
        self.max_tries = max_tries
        self.prior = prior

    @inference
    def probability(self, z_sem: torch.Tensor) -> torch.Tensor:
        """With which a raw z_sem is accepted, ``(B, D) -> (B,)``."""
        attributes = moved(self.attributes, z_sem.device)
        logit = attributes.scores(z_sem)[:, attributes.index(self.attribute)]
        return attributes.summary(self.attribute).probability(logit, self.prior)

    def __call__(self, indices: Sequence[int], device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """
        Args:
            indices: numbers of the samples.
            device: where the network is.

        Returns:
            ``z_sem`` ``(B, D)``; ``probability`` ``(B,)`` of the accepted code; ``tries`` ``(B,)``, that one included.
        """
        accepted: dict[int, tuple[torch.Tensor, torch.Tensor, int]] = {}
        pending, first = list(range(len(indices))), 0
        highest = dict.fromkeys(pending, 0.0)
        while pending:
            last = min(first + max(1, _CANDIDATES // len(pending)), self.max_tries)
            tries = [(place, j) for place in pending for j in range(first, last)]
            generators = [self.sampler.generator(indices[place], j) for place, j in tries]
            noise = torch.cat([self.sampler.noise(generator) for generator in generators])
            threshold = torch.cat([torch.rand(1, generator=generator) for generator in generators])
            z_sem = self.sampler.denoise(noise.to(device))
            probability = self.probability(z_sem)
            for row, (place, j) in enumerate(tries):
                highest[place] = max(highest[place], float(probability[row]))
                if place not in accepted and float(threshold[row]) < float(probability[row]):
                    accepted[place] = (z_sem[row], probability[row], j + 1)
            pending, first = [place for place in pending if place not in accepted], last
            if pending and last == self.max_tries:
                raise RuntimeError(
                    f"None of {self.max_tries} latent samples was accepted as {self.attribute!r} for sample "
                    f"{indices[pending[0]]}; the highest probability among them was {highest[pending[0]]:.2g}. Raise "
                    "max_tries or prior, or give more labels."
                )
        codes, probabilities, counts = zip(*(accepted[place] for place in range(len(indices))))
        return {
            "z_sem": torch.stack(codes),
            "probability": torch.stack(probabilities),
            "tries": torch.tensor(counts, device=device),
        }
