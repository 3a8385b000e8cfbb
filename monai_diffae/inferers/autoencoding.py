# SPDX-License-Identifier: Apache-2.0
"""The two directions of a diffusion autoencoder: image to (z_sem, x_T) and back, as loops over the scheduler's grid."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import torch
from monai.inferers import Inferer
from tqdm import tqdm

from monai_diffae.inferers.batching import Batches
from monai_diffae.inferers.exact_inversion import Inversion, check_exact, invert_exactly
from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.latent_space import noised, to_image, to_latent
from monai_diffae.inferers.metadata import plain
from monai_diffae.schedulers import Grid, InvertibleDDIMScheduler
from monai_diffae.support.precision import check_precision, mixed_precision, shared_casts

__all__ = ["DiffusionAutoencoderInferer"]


class DiffusionAutoencoderInferer(Inferer):
    """Runs a diffusion autoencoder in training (``__call__``), to z_sem (``encode``) and x_T (``invert``), and back
    (``decode``).

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Eq. 6 (loss), Eq. 8
        (stochastic encoding) and Eq. 3 (decoding).

    Args:
        scheduler: moves between noise levels, for as many loops at once as there are: each has its own grid.
        num_inference_steps: evaluations of the network in ``decode``.
        num_inversion_steps: evaluations in ``invert``; ``None`` means ``num_inference_steps``. The authors recommend
            250, with 20 to 100 for decoding. ``exact`` inverts the decoding, whose number it is.
        inversion: ``explicit``, the paper's: eps is evaluated at the lower end of each step. Or ``exact``: each step of
            the decoding is solved for where it starts (:func:`~monai_diffae.inferers.exact_inversion.invert_exactly`).
        tolerance: of ``exact``, for the root mean square of what decoding leaves between its result and the image, in
            the units of the image: 1e-3 is 66 dB for images in [-1, 1]. An image that needs more evaluations than
            there are is warned of. With ``bfloat16`` it is 5e-3 at least (57 dB measured), as is warned, too: rounding
            leaves no less.
        max_evaluations: of ``exact``, for each image over the whole inversion; ``None`` means 10 for each step.
        precision: ``float32``, or ``bfloat16`` or ``float16`` for automatic mixed precision of every call of the
            network, of the encoder too. Between steps, and in the end, there is the type of the images.
        verbose: show a progress bar.
        batch_size: images that the network sees at once in ``encode``, ``invert`` and ``decode``, at most: fewer where
            the memory of a GPU is too small (:class:`~monai_diffae.inferers.batching.Batches`). ``None`` for all that
            are given.

    Raises:
        ValueError: for an unknown ``inversion`` or ``precision``, for a ``batch_size`` below 1, and for steps that the
            scheduler has no grid for. With ``exact``: for a scheduler that clips or has several steps in view, for two
            numbers of steps, for a tolerance that is not positive, and for less than one evaluation a step.

    Example:
        >>> inferer = DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), num_inference_steps=50)  # doctest: +SKIP
        >>> z_sem = inferer.encode(images, network)
        >>> x_T = inferer.invert(images, network, z_sem)
        >>> reconstruction = inferer.decode(z_sem, x_T, network)
    """

    depends_on = (
        "scheduler",
        "num_inference_steps",
        "num_inversion_steps",
        "inversion",
        "precision",
        "tolerance",
        "max_evaluations",
    )

    def __init__(
        self,
        scheduler: InvertibleDDIMScheduler,
        num_inference_steps: int = 100,
        num_inversion_steps: int | None = None,
        inversion: str = "explicit",
        precision: str = "float32",
        verbose: bool = True,
        tolerance: float = 1e-3,
        max_evaluations: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        if inversion not in ("explicit", "exact"):
            raise ValueError(f"inversion must be 'explicit' or 'exact', got {inversion!r}.")
        self.scheduler = scheduler
        self.num_inference_steps = num_inference_steps
        self.num_inversion_steps = num_inference_steps if num_inversion_steps is None else num_inversion_steps
        self.inversion = inversion
        self.precision = check_precision(precision)
        self.batches = Batches(batch_size)
        self.verbose = verbose
        self.tolerance = tolerance
        self.max_evaluations = 10 * self.num_inversion_steps if max_evaluations is None else max_evaluations
        if inversion == "exact":
            self.tolerance = check_exact(
                scheduler, num_inference_steps, self.num_inversion_steps, self.max_evaluations, tolerance, precision
            )
        for steps in (self.num_inversion_steps, self.num_inference_steps):
            scheduler.grid(steps)  # an impossible number is told before any data are read

    def __call__(  # type: ignore[override]
        self,
        inputs: torch.Tensor,
        network: Callable,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        latent: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The training call: the network's prediction for noised images, given the code of the clean ones.

        Args:
            inputs: clean images x_0 in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`, wrapped or not.
            noise: standard normal, same shape (that of the latents where the network works on those).
            timesteps: integers in [0, T), shape ``(B,)``.
            latent: of the images, where it is known from before and the network works on latents.
        """
        images = plain(inputs)
        x_t = noised(self.scheduler, images, network, noise, timesteps, latent)
        with mixed_precision(self.precision, images.device):
            prediction = network(x_t, timesteps, image=images)
        return prediction.float()

    @inference
    def encode(self, images: torch.Tensor, network: Callable) -> torch.Tensor:
        """The semantic code z_sem.

        Args:
            images: x_0 in [-1, 1], shape ``(B, C, *spatial)``.
            network: with ``encode``, a :class:`~monai_diffae.networks.DiffusionAutoencoder`.

        Returns:
            z_sem, shape ``(B, D)``, type of ``images``.
        """
        images = plain(images)
        with shared_casts(self.precision, images.device):
            return torch.cat(self.batches(lambda part: self._encode(part, network), images))

    def _encode(self, images: torch.Tensor, network: Callable) -> torch.Tensor:
        with mixed_precision(self.precision, images.device):
            z_sem = network.encode(images)
        return z_sem.to(images.dtype)

    def invert(self, images: torch.Tensor, network: Callable, z_sem: torch.Tensor) -> torch.Tensor:
        """The stochastic code x_T, the detail that z_sem does not hold; :meth:`invert_with_report` without its report.

        Returns:
            x_T, shape of ``images``, or of their latents.
        """
        return self.invert_with_report(images, network, z_sem).x_T

    @inference
    def invert_with_report(self, images: torch.Tensor, network: Callable, z_sem: torch.Tensor) -> Inversion:
        """The stochastic code x_T, and for each image what it cost and how exact it is.

        Args:
            images: x_0 in [-1, 1], shape ``(B, C, *spatial)``.
            network: called as ``network(x_t, timesteps, context=z_sem)``.
            z_sem: shape ``(B, D)``.

        Raises:
            ValueError: for images of integers.
        """
        if not images.is_floating_point():
            raise ValueError(f"Expected images of floats in [-1, 1], got {images.dtype}; scale them first.")
        grid = self.scheduler.grid(self.num_inversion_steps)
        images, z_sem = plain(images), z_sem.expand(len(images), -1)
        with shared_casts(self.precision, images.device):
            result = Inversion.cat(
                self.batches(lambda x, z: self._invert(to_latent(x, network), z, network, grid), images, z_sem)
            )
        if self.inversion == "explicit":
            return result
        missed = int((~(result.residual <= self.tolerance)).sum())
        if missed:
            warnings.warn(
                f"The inversion of {missed} of {len(images)} images stopped at a residual of up to "
                f"{float(result.residual.max()):.2g}, above the tolerance of {self.tolerance:g}, after up to "
                f"{int(result.evaluations.max())} evaluations. Raise max_evaluations ({self.max_evaluations}) or "
                "num_inference_steps, or accept a larger tolerance.",
                stacklevel=3,
            )
        return result.to(images.device)

    def _invert(self, x: torch.Tensor, z_sem: torch.Tensor, network: Callable, grid: Grid) -> Inversion:
        progress = partial(self._progress, description="invert")
        if self.inversion == "explicit":
            for t, timestep in progress(grid.steps(x.device)[::-1]):
                x, _ = self.scheduler.reversed_step(self._predict(x, timestep, z_sem, network), t, x, grid)
            return Inversion.unchecked(x, len(x), len(grid))
        return invert_exactly(
            x,
            lambda x_t, timestep, rows: self._predict(x_t, timestep, z_sem[rows], network),
            self.scheduler,
            grid,
            self.tolerance,
            self.max_evaluations,
            progress=progress,
        )

    @inference
    def decode(self, z_sem: torch.Tensor, x_T: torch.Tensor, network: Callable) -> torch.Tensor:
        """The image of a pair of codes.

        Args:
            z_sem: shape ``(B, D)``; ``(1, D)`` for one z_sem that all images share.
            x_T: shape ``(B, C, *spatial)``, that of the images or of their latents; one row for one x_T that all
                images share.
            network: called as ``network(x_t, timesteps, context=z_sem)``.

        Returns:
            Images, shape ``(B, C, *spatial)``; about [-1, 1], not clipped.

        Raises:
            ValueError: for different numbers of z_sem and x_T, both more than one.
        """
        batch = max(len(z_sem), len(x_T))
        if {len(z_sem), len(x_T)} - {1, batch}:
            raise ValueError(f"Expected as many z_sem as x_T, or one of either; got {len(z_sem)} and {len(x_T)}.")
        grid = self.scheduler.grid(self.num_inference_steps)
        x_T, z_sem = plain(x_T).expand(batch, *x_T.shape[1:]), z_sem.expand(batch, -1)
        with shared_casts(self.precision, x_T.device):
            decoded = self.batches(lambda z, x: to_image(self._decode(z, x, network, grid), network), z_sem, x_T)
            return torch.cat(decoded)

    def decode_series(self, codes: Sequence[tuple[torch.Tensor, torch.Tensor]], network: Callable) -> torch.Tensor:
        """Several images for each place of a batch, all at once as far as ``batch_size`` allows.

        Args:
            codes: N pairs of z_sem and x_T for :meth:`decode`.
            network: as there.

        Returns:
            Images, shape ``(B, N, C, *spatial)``.
        """
        batch = max(len(code) for pair in codes for code in pair)
        z_sem, x_T = (torch.cat([plain(code).expand(batch, *code.shape[1:]) for code in part]) for part in zip(*codes))
        return torch.stack(self.decode(z_sem, x_T, network).chunk(len(codes)), dim=1)

    def _decode(self, z_sem: torch.Tensor, x: torch.Tensor, network: Callable, grid: Grid) -> torch.Tensor:
        for t, timestep in self._progress(grid.steps(x.device), "decode"):
            x, _ = self.scheduler.step(self._predict(x, timestep, z_sem, network), t, x, grid=grid)
        return x

    def _predict(self, x: torch.Tensor, timestep: torch.Tensor, z_sem: torch.Tensor, network: Callable) -> torch.Tensor:
        with mixed_precision(self.precision, x.device):
            prediction = network(x, timestep, context=plain(z_sem))
        return prediction.to(x.dtype)

    def _progress(self, steps: Sequence, description: str) -> tqdm:
        return tqdm(steps, desc=description, unit="step", leave=False, disable=not self.verbose)
