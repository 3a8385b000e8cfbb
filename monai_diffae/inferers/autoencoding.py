# SPDX-License-Identifier: Apache-2.0
"""The two directions of a diffusion autoencoder: image to (z_sem, x_T) and back, as loops over the scheduler's grid."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from tqdm import tqdm

from monai_diffae.randomness import derive_seed
from monai_diffae.schedulers import InvertibleDDIMScheduler

__all__ = ["DiffusionAutoencoderInferer", "ReconstructionInferer", "StochasticCode", "like_input", "plain"]

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def plain(x: torch.Tensor) -> torch.Tensor:
    """Without MONAI's metadata, which would be carried through every operation of the network."""
    return convert_to_tensor(x, track_meta=False)


def like_input(x: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """``x`` with the metadata (affine, file name) of ``inputs``, if it has any."""
    return MetaTensor(x).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else x


class DiffusionAutoencoderInferer(Inferer):
    """Runs a diffusion autoencoder in training (``__call__``), to x_T (``invert``) and back (``decode``).

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Eq. 6 (loss), Eq. 8
        (stochastic encoding) and Eq. 3 (decoding).

    Args:
        scheduler: moves between noise levels; its grid is set by ``invert`` and ``decode``.
        num_inference_steps: evaluations of the network in ``decode``.
        num_inversion_steps: evaluations in ``invert``; ``None`` means ``num_inference_steps``. The authors recommend
            250, with 20 to 100 for decoding.
        inversion: ``explicit``, the paper's: eps is evaluated at the lower end of each step.
        precision: ``float32``, or ``bfloat16`` or ``float16`` for automatic mixed precision. Between steps, and
            in the end, there is the type of the images.
        verbose: show a progress bar.

    Raises:
        ValueError: for an unknown ``inversion`` or ``precision``, and for steps that the scheduler has no grid for.

    Example:
        >>> inferer = DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), num_inference_steps=50)  # doctest: +SKIP
        >>> z_sem = network.encode(images)
        >>> x_T = inferer.invert(images, network, z_sem)
        >>> reconstruction = inferer.decode(z_sem, x_T, network)
    """

    def __init__(
        self,
        scheduler: InvertibleDDIMScheduler,
        num_inference_steps: int = 100,
        num_inversion_steps: int | None = None,
        inversion: str = "explicit",
        precision: str = "float32",
        verbose: bool = True,
    ) -> None:
        if inversion != "explicit":
            raise ValueError(f"inversion must be 'explicit', got {inversion!r}.")
        if precision not in _PRECISIONS:
            raise ValueError(f"precision must be one of {list(_PRECISIONS)}, got {precision!r}.")
        self.scheduler = scheduler
        self.num_inference_steps = num_inference_steps
        self.num_inversion_steps = num_inference_steps if num_inversion_steps is None else num_inversion_steps
        self.precision = precision
        self.verbose = verbose
        for steps in (self.num_inversion_steps, self.num_inference_steps):
            scheduler.set_timesteps(steps)  # an impossible number is told before any data are read

    def _autocast(self, device: torch.device) -> AbstractContextManager:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, dtype=_PRECISIONS[self.precision])

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: Callable, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """The training call: the network's prediction for noised images, given the code of the clean ones.

        Args:
            inputs: clean images x_0 in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`, wrapped or not.
            noise: standard normal, same shape.
            timesteps: integers in [0, T), shape ``(B,)``.
        """
        images = plain(inputs)
        noised = self.scheduler.add_noise(images, plain(noise), timesteps)
        with self._autocast(images.device):
            prediction = network(noised, timesteps, image=images)
        return prediction.float()

    @torch.no_grad()
    def invert(self, images: torch.Tensor, network: Callable, z_sem: torch.Tensor) -> torch.Tensor:
        """The stochastic code x_T, the detail that z_sem does not hold.

        Args:
            images: x_0 in [-1, 1], shape ``(B, C, *spatial)``.
            network: called as ``network(x_t, timesteps, context=z_sem)``.
            z_sem: shape ``(B, D)``.

        Returns:
            x_T, shape of ``images``.

        Raises:
            ValueError: for images of integers.
        """
        if not images.is_floating_point():
            raise ValueError(f"Expected images of floats in [-1, 1], got {images.dtype}; scale them first.")
        self.scheduler.set_timesteps(self.num_inversion_steps)
        x = plain(images)
        for t in self._progress(self.scheduler.timesteps.flip(0), "invert"):
            x, _ = self.scheduler.reversed_step(self._predict(x, t, z_sem, network), t, x)
        return x

    @torch.no_grad()
    def decode(self, z_sem: torch.Tensor, x_T: torch.Tensor, network: Callable) -> torch.Tensor:
        """The image of a pair of codes.

        Args:
            z_sem: shape ``(B, D)``; ``(1, D)`` for one z_sem that all images share.
            x_T: shape ``(B, C, *spatial)``; ``(1, C, *spatial)`` for one x_T that all images share.
            network: called as ``network(x_t, timesteps, context=z_sem)``.

        Returns:
            Images, shape ``(B, C, *spatial)``; about [-1, 1], not clipped.

        Raises:
            ValueError: for different numbers of z_sem and x_T, both more than one.
        """
        batch = max(len(z_sem), len(x_T))
        if {len(z_sem), len(x_T)} - {1, batch}:
            raise ValueError(f"Expected as many z_sem as x_T, or one of either; got {len(z_sem)} and {len(x_T)}.")
        self.scheduler.set_timesteps(self.num_inference_steps)
        x, z_sem = plain(x_T).expand(batch, *x_T.shape[1:]), z_sem.expand(batch, -1)
        for t in self._progress(self.scheduler.timesteps, "decode"):
            x, _ = self.scheduler.step(self._predict(x, t, z_sem, network), t, x)
        return x

    def _predict(self, x: torch.Tensor, t: torch.Tensor, z_sem: torch.Tensor, network: Callable) -> torch.Tensor:
        with self._autocast(x.device):
            prediction = network(x, t.reshape(1).to(x.device), context=plain(z_sem))
        return prediction.to(x.dtype)

    def _progress(self, timesteps: torch.Tensor, description: str) -> tqdm:
        return tqdm(timesteps, desc=description, unit="step", leave=False, disable=not self.verbose)


class StochasticCode:
    """Where x_T comes from.

    Args:
        x_T: ``encode`` (the image's own, by inversion), ``random`` or ``zeros``.
        seed: of the random x_T. The k-th draw is a function of (seed, k) and is the same for every image, so that
            results depend neither on the batch size nor on the other images.

    Raises:
        ValueError: for another ``x_T``.
    """

    def __init__(self, x_T: str = "encode", seed: int = 0) -> None:
        if x_T not in ("encode", "random", "zeros"):
            raise ValueError(f"x_T must be 'encode', 'random' or 'zeros', got {x_T!r}.")
        self.x_T = x_T
        self.seed = seed

    def __call__(
        self, images: torch.Tensor, network: Callable, z_sem: torch.Tensor, inferer: DiffusionAutoencoderInferer
    ) -> torch.Tensor:
        """x_T for ``images`` of shape ``(B, C, *spatial)``: same shape, or ``(1, C, *spatial)`` where it is shared."""
        if self.x_T == "encode":
            return inferer.invert(images, network, z_sem)
        return self.draw(images) if self.x_T == "random" else torch.zeros_like(plain(images[:1]))

    def draw(self, images: torch.Tensor, k: int = 0) -> torch.Tensor:
        """The k-th random x_T for images of this shape, ``(1, C, *spatial)``."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, k))
        return torch.randn((1, *images.shape[1:]), generator=generator).to(images)


class ReconstructionInferer(Inferer):
    """Encodes images and decodes them again; called ``(inputs, network)`` as MONAI's evaluators do.

    Args:
        inferer: the loops, with their numbers of steps.
        x_T: ``encode`` for the image's own x_T (near-exact), ``random`` or ``zeros`` for what z_sem alone tells.
        seed: of the random x_T, see :class:`StochasticCode`.
    """

    def __init__(self, inferer: DiffusionAutoencoderInferer, x_T: str = "encode", seed: int = 0) -> None:
        self.inferer = inferer
        self.stochastic_code = StochasticCode(x_T, seed)

    @torch.no_grad()
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: images in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.

        Returns:
            ``z_sem`` ``(B, D)`` and ``reconstruction``, shape and metadata of ``inputs``.
        """
        images = plain(inputs)
        z_sem = network.encode(images)
        x_T = self.stochastic_code(images, network, z_sem, self.inferer)
        reconstruction = self.inferer.decode(z_sem, x_T, network)
        return {"z_sem": z_sem, "reconstruction": like_input(reconstruction, inputs)}

    def __call__(self, inputs: torch.Tensor, network: Callable) -> torch.Tensor:  # type: ignore[override]
        """The reconstruction of :meth:`predict`."""
        return self.predict(inputs, network)["reconstruction"]
