# SPDX-License-Identifier: Apache-2.0
"""Training samples as functions of (seed, epoch, index): order, augmentation, noise and timestep."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import Compose, MapTransform, Randomizable
from torch.utils.data import Dataset, Sampler

from monai_diffae.support.randomness import derive_seed

__all__ = ["EndlessSampler", "RandDiffusionNoised", "SeededDataset"]


class SeededDataset(Dataset):
    """Applies random transforms whose draws depend on (seed, epoch, index) only.

    Args:
        data: the samples, dictionaries.
        transform: a MONAI ``Compose``.
        seed: of the run.

    An item is asked for by ``(epoch, index)``, as :class:`EndlessSampler` does, or by ``index`` for epoch 0. It has
    ``index``, by which :func:`~monai_diffae.data.sample_name` tells its file.
    """

    def __init__(self, data: Sequence[Mapping[str, Any]], transform: Compose, seed: int) -> None:
        self.data = data
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        self.transform.set_random_state(seed=derive_seed(self.seed, epoch, index))
        return self.transform(dict(self.data[index])) | {"index": index}


class EndlessSampler(Sampler):
    """``(epoch, index)`` for epoch after epoch, each in its own order, from any place on.

    Without an end, an iterator of the data loader crosses the borders of epochs, and a run that is resumed in the
    middle of an epoch sees the samples it would have seen.

    Args:
        num_samples: length of the data set.
        seed: of the order.
        start: samples to skip, set before the data loader is iterated; ``iteration * batch_size`` to resume, with the
            batch size of all processes together.
        rank: which of ``num_replicas`` processes this is. Of the samples from ``start`` on, each takes one in turn, so
            that all of their batches together are the batch of a single process.
        num_replicas: processes that share the samples.

    Raises:
        ValueError: for an empty data set, or a rank outside [0, num_replicas).
    """

    def __init__(self, num_samples: int, seed: int, start: int = 0, rank: int = 0, num_replicas: int = 1) -> None:
        if num_samples < 1:
            raise ValueError("The data set is empty.")
        if not 0 <= rank < num_replicas:
            raise ValueError(f"rank must be in [0, num_replicas), got {rank} of {num_replicas}.")
        self.num_samples = num_samples
        self.seed = seed
        self.start = start
        self.rank = rank
        self.num_replicas = num_replicas

    def __len__(self) -> int:
        """Samples of one epoch, of all processes."""
        return self.num_samples

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return islice(self._all(), self.rank, None, self.num_replicas)

    def _all(self) -> Iterator[tuple[int, int]]:
        epoch, place = divmod(self.start, self.num_samples)
        while True:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch))
            order = torch.randperm(self.num_samples, generator=generator).tolist()
            for index in order[place:]:
                yield epoch, index
            epoch, place = epoch + 1, 0


class RandDiffusionNoised(Randomizable, MapTransform):
    """Draws the noise and the timestep of a training sample.

    Adds ``noise`` (standard normal, shape of the image) and ``timesteps`` (an integer tensor in
    [0, ``num_train_timesteps``), uniform unless ``timestep_weights`` say otherwise).

    Args:
        keys: key of the image, one.
        num_train_timesteps: T of the scheduler.
        timestep_weights: how often each of the T timesteps is drawn, relative to the others, as
            :func:`~monai_diffae.schedulers.timestep_weights` gives them; ``None`` for all alike.
        noise_shape: ``(C, *spatial)`` of the noise, where the diffusion is not of the image itself but of its latent;
            ``None`` for the image's.

    Raises:
        ValueError: for several keys, and for weights that are not T numbers of at least 0, one of them positive.
    """

    def __init__(
        self,
        keys: KeysCollection,
        num_train_timesteps: int,
        timestep_weights: Sequence[float] | None = None,
        noise_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys must name one image, got {self.keys}.")
        self.num_train_timesteps = num_train_timesteps
        self.noise_shape = noise_shape
        self._cumulated = None
        if timestep_weights is not None:
            weights = np.asarray(timestep_weights, dtype=np.float64)
            if weights.shape != (num_train_timesteps,) or not np.isfinite(weights).all() or weights.min() < 0:
                raise ValueError(
                    f"timestep_weights must be {num_train_timesteps} numbers of at least 0, got {weights}."
                )
            if not weights.any():
                raise ValueError("timestep_weights must not all be 0.")
            self._cumulated = np.cumsum(weights) / weights.sum()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        shape = d[self.keys[0]].shape if self.noise_shape is None else self.noise_shape
        d["noise"] = torch.from_numpy(self.R.standard_normal(tuple(shape)).astype("float32"))
        d["timesteps"] = torch.tensor(self._timestep())
        return d

    def _timestep(self) -> int:
        if self._cumulated is None:
            return self.R.randint(self.num_train_timesteps)
        return int(np.searchsorted(self._cumulated, self.R.uniform(), side="right"))
