# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["derive_seed", "seeded"]


def derive_seed(*keys: int) -> int:
    """A 32-bit seed that is a function of non-negative integers such as (seed, epoch, index), and of their order.

    Zeros at the end do not count, since NumPy pads with zeros: one purpose takes keys of one length.
    """
    return int(np.random.SeedSequence(keys).generate_state(1)[0])


@contextmanager
def seeded(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """PyTorch's global generators draw from a seed; afterwards they are what they were before.

    For what draws from them and takes no generator: the initial weights of layers, dropout.

    Args:
        seed: a non-negative integer.
        device: whose generator is put back, beside that of the CPU.
    """
    device = torch.device(device)
    accelerated = device.type not in ("cpu", "meta")
    options = {"device_type": device.type} if accelerated else {}
    with torch.random.fork_rng([device] if accelerated else [], **options):
        torch.manual_seed(seed)
        yield
