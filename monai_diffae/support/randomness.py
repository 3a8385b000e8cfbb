# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

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
        device: whose generator is meant, beside that of the CPU.
    """
    generators = _global_generators(torch.device(device))
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states):
            generator.set_state(state)


def _global_generators(device: torch.device) -> list[Any]:
    """Those that an operation on the device can draw from: the CPU's and its own, if it has one."""
    generators = [torch.default_generator]
    if device.type == "mps":
        mps = torch.mps
        generators.append(
            SimpleNamespace(get_state=mps.get_rng_state, set_state=mps.set_rng_state, manual_seed=mps.manual_seed)
        )
    elif device.type not in ("cpu", "meta"):
        module = torch.get_device_module(device)
        if own := getattr(module, "default_generators", ()):
            generators.append(own[module.current_device() if device.index is None else device.index])
    return generators
