# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from monai_diffae.inferers.sampling import SamplingInferer
from monai_diffae.semantics import AttributeDirections

__all__ = ["ConditionalSamplingInferer"]

_CANDIDATES = 128  # codes denoised at once: the latent network is small, so that a batch of one costs as much


class ConditionalSamplingInferer(SamplingInferer):
    """Images of a class: z_sem of the latent diffusion is accepted with the probability that a classifier gives it.

    Rejection sampling: from codes of density p(z), those of density proportional to ``p(z) p(class | z)`` are left. The
    j-th try of sample k is a function of (seed, k, j), and the first accepted one is taken, so that a sample does not
    depend on its batch.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.4.

    Args:
        attributes: holds the classifier, of :func:`~monai_diffae.semantics.fit_few_shot` for one.
        attribute: its name.
        max_tries: for each sample, 1 or more.
        prior: share of the class in the data, in (0, 1). The classifier is trained on balanced classes; its logit is
            moved by ``log(prior / (1 - prior))``, Bayes' rule for classes that are not. 0.5 takes it as it is; for a
            rare class the share keeps out the many codes of other classes that it takes for likely.
        sampling_args: of :class:`SamplingInferer`.

    Raises:
        ValueError: for numbers out of range or an unknown attribute.
        RuntimeError: while sampling, when none of ``max_tries`` codes was accepted for a sample.
    """

    def __init__(
        self,
        *,
        attributes: AttributeDirections,
        attribute: str,
        max_tries: int = 1000,
        prior: float = 0.5,
        **sampling_args,
    ) -> None:
        super().__init__(**sampling_args)
        if max_tries < 1 or not 0 < prior < 1:
            raise ValueError(f"Expected max_tries of 1 or more and prior in (0, 1), got {max_tries} and {prior}.")
        attributes.index(attribute)
        self.attributes = attributes
        self.attribute = attribute
        self.max_tries = max_tries
        self.prior = prior

    def probability(self, z_sem: torch.Tensor) -> torch.Tensor:
        """With which a raw z_sem is accepted, ``(B, D) -> (B,)``."""
        attributes = self.attributes.to(z_sem.device)
        logit = attributes.scores(z_sem)[:, attributes.index(self.attribute)]
        return torch.sigmoid(logit + math.log(self.prior / (1 - self.prior)))

    @torch.no_grad()
    def sample_latents(self, indices: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """``z_sem`` ``(B, D)``; ``probability`` ``(B,)`` of the accepted code; ``tries`` ``(B,)``, that one included."""
        z_dim = len(self.statistics.mean)
        accepted: dict[int, tuple[torch.Tensor, torch.Tensor, int]] = {}
        pending, first = list(range(len(indices))), 0
        highest = dict.fromkeys(pending, 0.0)
        while pending:
            last = min(first + max(1, _CANDIDATES // len(pending)), self.max_tries)
            tries = [(place, j) for place in pending for j in range(first, last)]
            generators = [self.generator(indices[place], j) for place, j in tries]
            noise = torch.cat([torch.randn(1, z_dim, generator=generator) for generator in generators])
            threshold = torch.cat([torch.rand(1, generator=generator) for generator in generators])
            z_sem = self.denoise_latents(noise.to(device))
            probability = self.probability(z_sem)
            accept = (threshold < probability.cpu()).tolist()
            for row, (place, j) in enumerate(tries):
                highest[place] = max(highest[place], float(probability[row]))
                if accept[row] and place not in accepted:
                    accepted[place] = (z_sem[row], probability[row], j + 1)
            pending, first = [place for place in pending if place not in accepted], last
            if pending and last == self.max_tries:
                place = pending[0]
                raise RuntimeError(
                    f"None of {self.max_tries} latent samples was accepted as {self.attribute!r} for sample "
                    f"{indices[place]}; the highest probability among them is {highest[place]:.2g}. Raise max_tries "
                    "or prior, or give more labels."
                )
        rows = [accepted[place] for place in range(len(indices))]
        return {
            "z_sem": torch.stack([z_sem for z_sem, _, _ in rows]),
            "probability": torch.stack([probability for _, probability, _ in rows]),
            "tries": torch.tensor([count for _, _, count in rows], device=device),
        }
