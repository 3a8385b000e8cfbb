# SPDX-License-Identifier: Apache-2.0
"""What is timed: each task as a call, for a network in a precision."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from monai_diffae.inferers import DiffusionAutoencoderInferer, LatentSampler
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import LatentStatistics

from .subjects import Subject

__all__ = ["EVALUATIONS_A_STEP", "Work"]

EVALUATIONS_A_STEP = 3  # of exact inversion: what trained networks take at 20 steps (docs/inversion.csv)


@dataclass(frozen=True)
class Work:
    """A batch of noise as images, and what is done with it.

    Args:
        device: where.
        image_shape: of one image.
        batch: images.
        steps: of decoding, inversion and latent sampling.
        in_a_row: evaluations of a call of denoising or encoding.
    """

    device: torch.device
    image_shape: tuple[int, ...]
    batch: int
    steps: int = 1
    in_a_row: int = 1

    def _inputs(self, subject: Subject, z_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(self.batch, *self.image_shape, generator=generator)
        z_sem = torch.randn(self.batch, z_dim, generator=generator)
        return images.to(self.device, memory_format=subject.memory_format), z_sem.to(self.device)

    def _autocast(self, precision: str) -> AbstractContextManager:
        if precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, precision))

    def _in_a_row(self, subject: Subject, precision: str, evaluate: Callable[[], torch.Tensor]) -> Callable[[], object]:
        """As the steps of a loop or the batches of a folder are computed."""

        def call() -> torch.Tensor:
            with subject.without_gradient(), subject.loop(precision, self.device):
                for _ in range(self.in_a_row):
                    with self._autocast(precision):
                        result = evaluate()
            return result

        return call

    def denoise(
        self, subject: Subject, precision: str, z_dim: int, denoise: Callable | None = None
    ) -> Callable[[], object]:
        """Evaluations of the UNet, by ``denoise`` instead of the network where it is given."""
        x, z_sem = self._inputs(subject, z_dim)
        timesteps = torch.tensor([300], device=self.device)
        denoise = subject.network if denoise is None else denoise  # a compiled network is neither true nor false
        return self._in_a_row(subject, precision, lambda: denoise(x, timesteps, context=z_sem))

    def encode(self, subject: Subject, precision: str, encode: Callable | None = None) -> Callable[[], object]:
        """Images to z_sem, by ``encode`` instead of the network's method where it is given."""
        x, _ = self._inputs(subject, 1)
        encode = subject.network.encode if encode is None else encode
        return self._in_a_row(subject, precision, lambda: encode(x))

    def train(
        self,
        subject: Subject,
        precision: str,
        network: Callable | None = None,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> Callable[[], object]:
        """Forward, backward, clipping of the gradient and a step of the optimiser; the subject's Adam if none is given.

        The network is left prepared for training.
        """
        x = self._inputs(subject, 1)[0].contiguous(memory_format=subject.training_format)
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(x.shape, generator=generator).to(x)
        timesteps = torch.randint(0, 1000, (self.batch,), generator=generator).to(self.device)
        inferer = DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), 1, precision=precision, verbose=False)
        optimizer = subject.optimizer(subject.network.parameters()) if optimizer is None else optimizer
        network = subject.network if network is None else network
        subject.prepare(training=True)

        def call() -> None:
            optimizer.zero_grad(set_to_none=True)
            F.mse_loss(inferer(x, network, noise, timesteps), noise).backward()
            torch.nn.utils.clip_grad_norm_(subject.network.parameters(), 1.0)
            optimizer.step()

        return call

    def decode(self, subject: Subject, precision: str, z_dim: int) -> Callable[[], object]:
        """z_sem and a random x_T to images."""
        x_T, z_sem = self._inputs(subject, z_dim)
        inferer = DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), self.steps, precision=precision, verbose=False)
        return lambda: inferer.decode(z_sem, x_T, subject.network)

    def invert(self, subject: Subject, precision: str, z_dim: int) -> Callable[[], object]:
        """Exact inversion that never is exact enough: it spends what it may. The call returns its report."""
        x, z_sem = self._inputs(subject, z_dim)
        inferer = DiffusionAutoencoderInferer(
            InvertibleDDIMScheduler(),
            self.steps,
            inversion="exact",
            tolerance=1e-30,
            max_evaluations=EVALUATIONS_A_STEP * self.steps,
            precision=precision,
            verbose=False,
        )

        def call():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the tolerance
                return inferer.invert_with_report(x, subject.network, z_sem)

        return call

    def sample_latents(self, subject: Subject, precision: str, z_dim: int) -> Callable[[], object]:
        """z_sem by the latent diffusion."""
        noise = torch.randn(self.batch, z_dim, generator=torch.Generator().manual_seed(0)).to(self.device)
        scheduler = InvertibleDDIMScheduler(schedule="constant_beta")
        sampler = LatentSampler(
            subject.network, scheduler, LatentStatistics(torch.zeros(z_dim), torch.ones(z_dim)), self.steps
        )

        def call() -> torch.Tensor:
            with self._autocast(precision):
                return sampler.denoise(noise)

        return call
