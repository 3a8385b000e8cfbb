# SPDX-License-Identifier: Apache-2.0
"""Seconds of calls: many calls in turn, so that what slows the machine down for a while slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Timing", "alternate", "seconds"]

Call = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds of one call over several runs: median, quartiles and number."""

    median: float
    lower: float
    upper: float
    runs: int

    @classmethod
    def of(cls, values: list[float]) -> Timing:
        lower, median, upper = np.percentile(values, [25, 50, 75])
        return cls(float(median), float(lower), float(upper), len(values))

    def __truediv__(self, number: float) -> Timing:
        return Timing(self.median / number, self.lower / number, self.upper / number, self.runs)


def seconds(call: Call, device: torch.device) -> float:
    """Of one call: by events on a GPU, which count what the GPU does, by the monotonic clock elsewhere."""
    if device.type != "cuda":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    torch.cuda.synchronize(device)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    torch.cuda.synchronize(device)
    return start.elapsed_time(end) / 1e3


def alternate(
    calls: Mapping[str, Call], device: torch.device, rounds: int, seconds_left: float, least: int = 3
) -> dict[str, Timing]:
    """Run all calls in turn, each round in another order.

    Args:
        calls: by name; they have been called before, so that nothing is made for the first time.
        device: where they run.
        rounds: at most.
        seconds_left: no further round is begun that would end later, once there are ``least``.
        least: rounds, whatever they take.
    """
    values: dict[str, list[float]] = {name: [] for name in calls}
    names, began = list(calls), time.perf_counter()
    for i in range(rounds):
        spent = time.perf_counter() - began
        if i >= least and spent * (i + 1) / i > seconds_left:
            break
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            values[name].append(seconds(calls[name], device))
    return {name: Timing.of(found) for name, found in values.items()}
