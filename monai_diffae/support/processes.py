# SPDX-License-Identifier: Apache-2.0
"""Several processes that share one work, as ``torchrun`` starts them: for the ``multi_gpu_*.yaml`` configurations.

Everything here also holds for a single process, which has rank 0 of 1.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import ignite.distributed as idist
import torch
import torch.distributed as dist

__all__ = ["batch_share", "device", "end", "parallel", "part", "start"]

Item = TypeVar("Item")


def device() -> torch.device:
    """This process's GPU, or the CPU where there is none."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    )


def start() -> None:
    """Join the process group, by NCCL on GPUs and by gloo on the CPU. For the beginning of ``initialize``.

    Raises:
        ValueError: if the process was not started by ``torchrun``.
    """
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ValueError(
            f"The environment lacks {', '.join(missing)}: start several processes by "
            "'torchrun --standalone --nproc_per_node=2 -m monai.bundle run ...'."
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(device())
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def end() -> None:
    """Leave the process group, when all processes have come here. For ``finalize``."""
    idist.barrier()
    dist.destroy_process_group()


def parallel(module: torch.nn.Module) -> torch.nn.Module:
    """The module as all processes train it: with the weights of the first one, and gradients that are their mean.

    A single process gets it back as it is.
    """
    return torch.nn.parallel.DistributedDataParallel(module) if idist.get_world_size() > 1 else module


def batch_share(batch_size: int) -> int:
    """What each process takes of a batch.

    Args:
        batch_size: of all processes together.

    Raises:
        ValueError: if it cannot be divided.
    """
    if batch_size % idist.get_world_size():
        raise ValueError(
            f"The batch size is that of all processes together and must be a multiple of their number, "
            f"{idist.get_world_size()}; got {batch_size}."
        )
    return batch_size // idist.get_world_size()


def part(items: Sequence[Item]) -> Sequence[Item]:
    """This process's part of a sequence: parts follow each other, differ in length by one at most, and make the whole.

    Args:
        items: anything that can be sliced; the same in every process.

    Raises:
        ValueError: if there are fewer items than processes.
    """
    rank, count = idist.get_rank(), idist.get_world_size()
    if len(items) < count:
        raise ValueError(f"{len(items)} items cannot be shared by {count} processes; start fewer.")
    return items[rank * len(items) // count : (rank + 1) * len(items) // count]
