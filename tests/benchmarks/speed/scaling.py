# SPDX-License-Identifier: Apache-2.0
"""How the cost grows: seconds at several sizes, and the exponent of the power of the size that fits them best."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from .clock import alternate, seconds
from .rows import Row

__all__ = ["fitted_exponent", "scaling_rows"]


def fitted_exponent(sizes: list[float], costs: list[float]) -> float:
    """p of ``cost = c size^p``, by least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def scaling_rows(
    axis: str,
    calls: Mapping[tuple[str, str], Mapping[int, Callable[[], object]]],
    device: torch.device,
    rounds: int,
    seconds_left: float,
    note: str,
) -> list[Row]:
    """One row for each network and precision.

    Args:
        axis: what grows.
        calls: by network and precision: by size.
        device: where.
        rounds: of alternating runs, at most.
        seconds_left: for all of it.
        note: what is done at each size.
    """
    flat = {(key, size): call for key, sizes in calls.items() for size, call in sizes.items()}
    for call in flat.values():
        seconds(call, device)
    timings = alternate(flat, device, rounds, seconds_left)
    rows = []
    for (network, precision), sizes in calls.items():
        medians = [timings[(network, precision), size].median for size in sizes]
        shown = ", ".join(f"{size}: {median:.3g} s" for size, median in zip(sizes, medians))
        rows.append(
            {
                "task": f"cost against {axis}",
                "network": network,
                "precision": precision,
                "runs": timings[(network, precision), next(iter(sizes))].runs,
                "exponent": fitted_exponent(list(sizes), medians),
                "note": f"{note}; {shown}",
            }
        )
    return rows
