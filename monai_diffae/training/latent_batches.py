# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice

import torch
from torch.utils.data import IterableDataset, get_worker_info

from monai_diffae.support.randomness import derive_seed

__all__ = ["LatentBatches"]

_BLOCK = 1024  # codes whose noise is drawn at once; part of what (seed, epoch, index) means, so do not change it


class LatentBatches(IterableDataset):
    """Endless training batches of the latent diffusion, with their noise and timesteps.

    What :class:`~monai_diffae.data.SeededDataset` and :class:`~monai_diffae.data.EndlessSampler` are for images, drawn
    for many codes at once: a code costs the network so little that drawing its noise by itself would cost more. The
    order, noise and timestep of a code are functions of (seed, epoch, index) and do not depend on the batch size.

    Args:
        z_normalized: normalised codes, shape ``(N, D)``.
        batch_size: codes a batch; batches cross the borders of epochs.
        num_train_timesteps: T of the scheduler.
        seed: of order, noise and timesteps.
        start: codes to skip, set before the iteration starts; ``iteration * batch_size`` to resume.
        rank: which of ``num_replicas`` processes this is. Each takes its share of every batch.
        num_replicas: processes that share the batches.

    A batch holds ``image`` ``(B, D)`` (MONAI's key for what is diffused), ``noise`` ``(B, D)``, ``timesteps`` ``(B,)``,
    uniform in [0, T), and ``index`` ``(B,)``, the places of the codes.

    Raises:
        ValueError: for codes of another shape or none, a batch size below 1 or one that cannot be shared, or a rank
            outside [0, num_replicas).
    """

    def __init__(
        self,
        z_normalized: torch.Tensor,
        batch_size: int,
        num_train_timesteps: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        num_replicas: int = 1,
    ) -> None:
        if z_normalized.ndim != 2 or len(z_normalized) == 0 or batch_size < 1:
            raise ValueError(
                "Expected codes of shape (N, D) with N of 1 or more and a batch_size of 1 or more, "
                f"got {list(z_normalized.shape)} and {batch_size}."
            )
        if not 0 <= rank < num_replicas or batch_size % num_replicas:
            raise ValueError(
                "Expected a rank in [0, num_replicas) and a batch_size that num_replicas divides; "
                f"got {rank} of {num_replicas}, and {batch_size}."
            )
        self.z_normalized = z_normalized
        self.batch_size = batch_size
        self.num_train_timesteps = num_train_timesteps
        self.seed = seed
        self.start = start
        self.rank = rank
        self.num_replicas = num_replicas

    @property
    def fingerprint(self) -> str:
        """Twelve digits that tell these codes from others: checkpoints of another training are not to be resumed."""
        codes = self.z_normalized.cpu().contiguous()
        return hashlib.sha256(codes.numpy().tobytes()).hexdigest()[:12]

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """The batches; of several workers of a ``DataLoader``, which takes one of each in turn, each gives its own."""
        worker = get_worker_info()
        if worker is None:
            return self._batches()
        return islice(self._batches(), worker.id, None, worker.num_workers)

    def _batches(self) -> Iterator[dict[str, torch.Tensor]]:
        parts: list[dict[str, torch.Tensor]] = []
        count = 0
        for block in self._blocks():
            parts.append(block)
            count += len(block["timesteps"])
            if count < self.batch_size:
                continue
            joined = {key: torch.cat([part[key] for part in parts]) for key in block}
            while count >= self.batch_size:
                share = slice(self.rank, self.batch_size, self.num_replicas)
                yield {key: value[share] for key, value in joined.items()}
                joined = {key: value[self.batch_size :] for key, value in joined.items()}
                count -= self.batch_size
            parts = [joined]

    def _blocks(self) -> Iterator[dict[str, torch.Tensor]]:
        """The stream of codes from ``start`` on, cut into blocks of an epoch's order."""
        num_codes, z_dim = self.z_normalized.shape
        epoch, place = divmod(self.start, num_codes)
        while True:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch))
            order = torch.randperm(num_codes, generator=generator)
            for block in range(place // _BLOCK, -(-num_codes // _BLOCK)):
                indices = order[block * _BLOCK : (block + 1) * _BLOCK]
                generator.manual_seed(derive_seed(self.seed, epoch, 1 + block))
                noise = torch.randn(len(indices), z_dim, generator=generator)
                timesteps = torch.randint(self.num_train_timesteps, (len(indices),), generator=generator)
                done = max(place - block * _BLOCK, 0)
                yield {
                    "image": self.z_normalized[indices[done:]],
                    "noise": noise[done:],
                    "timesteps": timesteps[done:],
                    "index": indices[done:],
                }
            epoch, place = epoch + 1, 0
