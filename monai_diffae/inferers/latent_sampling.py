# SPDX-License-Identifier: Apache-2.0
"""z_sem from nothing, by the latent diffusion: any, or those of a class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn

from monai_diffae.inferers.inference import inference
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections, LatentStatistics
from monai_diffae.support.precision import check_precision, mixed_precision, shared_casts
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
        statistics: of z_sem; its D is that of the network. They stay on their device: the codes come to them.
        num_inference_steps: evaluations of the network. DDIM contracts: of normal codes the deviation that is left is
            0.81 with 20 steps, 0.95 with 100 and 0.99 with 500 (the schedule's own; they are cheap). Steps of second
            order leave all of it.
        seed: of the samples.
        precision: of the network: ``float32``, ``bfloat16`` or ``float16``. Between steps, and in the end, float32.

    Raises:
        ValueError: for another precision.
    """

    depends_on = ("network", "scheduler", "statistics", "num_inference_steps", "seed", "precision")

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
        self.scheduler = scheduler
        self.precision = check_precision(precision)
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
        grid, x = self.scheduler.grid(self.num_inference_steps), noise
        with shared_casts(self.precision, x.device):
            for t, timestep in grid.steps(x.device):
                with mixed_precision(self.precision, x.device):
                    prediction = self.network(x, timestep)
                x, _ = self.scheduler.step(prediction.to(x.dtype), t, x, grid=grid)
        return self.statistics.denormalize(x.to(self.statistics.mean.device)).to(x.device)

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
        attributes: holds the classifier, of :func:`~monai_diffae.semantics.fit_few_shot` for one. It stays on its
            device.
        attribute: its name.
        max_tries: for each sample, 1 or more.
        prior: share of the class in the data, in (0, 1). The classifier is trained on balanced classes;
            :meth:`~monai_diffae.semantics.AttributeSummary.probability` is Bayes' rule for classes that are not. For a
            rare class the share keeps out the many codes of other classes that 0.5 takes for likely.

    Raises:
        ValueError: for numbers out of range, or an attribute that is unknown or not binary.
        RuntimeError: when it is called and none of ``max_tries`` codes is accepted for a sample.
    """

    depends_on = ("sampler", "attributes", "attribute", "max_tries", "prior")

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
        logit = self.attributes.scores(z_sem.to(self.attributes.weight.device))[
            :, self.attributes.index(self.attribute)
        ]
        return self.attributes.summary(self.attribute).probability(logit, self.prior).to(z_sem.device)

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
            # The one time that a round waits for the device.
            for row, ((place, j), bar, chance) in enumerate(zip(tries, threshold.tolist(), probability.tolist())):
                highest[place] = max(highest[place], chance)
                if place not in accepted and bar < chance:
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
