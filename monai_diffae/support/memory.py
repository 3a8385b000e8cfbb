# SPDX-License-Identifier: Apache-2.0
"""How much memory there is, and how much of it things take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["free_memory", "size_in_memory"]

_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that programs can get, of the machine and of a container's limit; a guess where the system does not tell
    (it is Linux that does)."""
    limits = [limit for limit in (_of_the_machine(), _of_the_container()) if limit is not None]
    return min(limits, default=2**32)


def _of_the_machine() -> int | None:
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return None if found is None else 1024 * int(found[1])


def _of_the_container() -> int | None:
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return None if limit == "max" else max(int(limit) - int(used), 0)
    except (OSError, ValueError):
        return None


def size_in_memory(thing: Any) -> int:
    """Bytes of the tensors and arrays in an item of a data set; what else it holds is small."""
    if isinstance(thing, torch.Tensor):
        return thing.numel() * thing.element_size()
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    if isinstance(thing, Mapping):
        return sum(map(size_in_memory, thing.values()))
    if isinstance(thing, (list, tuple)):
        return sum(map(size_in_memory, thing))
    return 0
