# SPDX-License-Identifier: Apache-2.0
"""Rows of the table: measured calls of one task, in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from .clock import Timing, alternate, seconds
from .memory import peak_memory
from .subjects import AUTHORS

__all__ = ["COLUMNS", "Row", "measured_rows", "timing_columns"]

Row = dict[str, str | float | int | None]
COLUMNS = (
    "task",
    "network",
    "precision",
    "batch",
    "seconds",
    "seconds_lower_quartile",
    "seconds_upper_quartile",
    "runs",
    "images_per_second",
    "speed_over_authors_float32",
    "peak_memory_mib",
    "gflop",
    "gflop_per_second",
    "share_of_ceiling",
    "first_call_seconds",
    "evaluations",
    "psnr",
    "worst_psnr",
    "exponent",
    "note",
)


def timing_columns(timing: Timing) -> Row:
    return {
        "seconds": timing.median,
        "seconds_lower_quartile": timing.lower,
        "seconds_upper_quartile": timing.upper,
        "runs": timing.runs,
    }


def measured_rows(
    task: str,
    calls: Mapping[tuple[str, str], Callable[[], object]],
    images: int,
    operations: Mapping[str, float],
    ceilings: Mapping[str, float],
    device: torch.device,
    rounds: int,
    seconds_left: float,
    note: str = "",
    repeats: int = 1,
) -> list[Row]:
    """One row for each call: seconds, images a second, memory, operations and their share of what the machine can do.

    Args:
        task: name of the rows.
        calls: by network and precision (``bfloat16, compiled`` counts as bfloat16).
        images: of a task.
        operations: floating-point operations of a task, by network.
        ceilings: GFLOP/s that the machine reaches, by precision.
        device: where.
        rounds: of alternating runs, at most.
        seconds_left: for all of it.
        note: of the rows.
        repeats: tasks that a call does in a row; seconds are those of one.
    """
    began = time.perf_counter()
    first = {key: seconds(call, device) for key, call in calls.items()}
    memory = {key: peak_memory(call, device) for key, call in calls.items()}
    timings = alternate(calls, device, rounds, seconds_left - (time.perf_counter() - began))
    timings = {key: timing / repeats for key, timing in timings.items()}
    authors = timings.get((AUTHORS, "float32"))
    rows = []
    for (network, precision), timing in timings.items():
        speed = operations[network] / timing.median / 1e9
        rows.append(
            {
                "task": task,
                "network": network,
                "precision": precision,
                "batch": images,
                **timing_columns(timing),
                "images_per_second": images / timing.median,
                "speed_over_authors_float32": authors.median / timing.median if authors else None,
                "peak_memory_mib": memory[network, precision],
                "gflop": operations[network] / 1e9,
                "gflop_per_second": speed,
                "share_of_ceiling": speed / ceilings[precision.split(",")[0]],
                "first_call_seconds": first[network, precision] - (repeats - 1) * timing.median,
                "note": note,
            }
        )
    return rows
