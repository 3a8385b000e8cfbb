# SPDX-License-Identifier: Apache-2.0
"""Which of the T training timesteps a loop visits."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.utils import StrEnum

__all__ = ["Grid", "TimestepSpacing", "spaced_timesteps"]


class TimestepSpacing(StrEnum):
    LEADING = "leading"
    TRAILING = "trailing"
    LINSPACE = "linspace"
    QUADRATIC = "quadratic"

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"timestep_spacing must be one of {', '.join(cls)}, got {value!r}.")


@dataclass(frozen=True)
class Grid:
    """The N steps of a loop and the noise levels that they move between. It never changes, so that each loop keeps its
    own while others run on the same scheduler.

    Args:
        timesteps: descending, as decoding visits them.
        levels: ``alpha_bar`` before the lowest timestep (1, clean), at each, ascending, and after the highest (0,
            noise); N + 2 of them.
    """

    timesteps: tuple[int, ...]
    levels: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.timesteps)

    @functools.cached_property
    def _places(self) -> Mapping[int, int]:
        return {t: len(self) - k for k, t in enumerate(self.timesteps)}

    def place(self, timestep: int | torch.Tensor) -> int:
        """Of a timestep in the table of levels, 1 to N.

        Raises:
            ValueError: if it is not on the grid.
        """
        t = float(timestep)
        if t not in self._places:
            raise ValueError(
                f"Timestep {t:g} is not on the grid of {len(self)} steps; "
                f"take one of scheduler.timesteps: {list(self.timesteps)}."
            )
        return self._places[int(t)]

    def steps(self, device: torch.device | str) -> Sequence[tuple[int, torch.Tensor]]:
        """For a loop that decodes: each timestep as the scheduler takes it, a number, and as a network does, on its
        device, shape ``(1,)``. One copy for the whole loop, whatever its length."""
        return list(zip(self.timesteps, torch.tensor(self.timesteps, device=device).split(1)))


def spaced_timesteps(spacing: TimestepSpacing, num_train_timesteps: int, num_inference_steps: int) -> list[int]:
    """The timesteps of a grid, ascending.

    Raises:
        ValueError: if N is out of range, or if no integer stride gives N steps (``leading`` only).
    """
    total, count = num_train_timesteps, num_inference_steps
    if not 1 <= count <= total:
        raise ValueError(f"num_inference_steps must be from 1 to {total} (T), got {count}.")
    if spacing == TimestepSpacing.LEADING:
        grid = _leading(total, count)
    elif spacing == TimestepSpacing.TRAILING:
        grid = np.round(np.arange(count, 0, -1) * (total / count))[::-1] - 1
    elif spacing == TimestepSpacing.QUADRATIC:
        grid = _quadratic(total, count)
    else:
        grid = np.linspace(total - 1, 0, count).round()[::-1]
    return grid.astype(np.int64).tolist()


def _leading(num_train_timesteps: int, num_inference_steps: int) -> np.ndarray:
    for stride in range(1, num_train_timesteps + 1):
        grid = np.arange(0, num_train_timesteps, stride)
        if len(grid) == num_inference_steps:
            return grid
        if len(grid) < num_inference_steps:
            break
    raise ValueError(
        f"No integer stride divides {num_train_timesteps} timesteps into {num_inference_steps} steps with "
        "timestep_spacing='leading'; take another num_inference_steps, or the spacing 'trailing' or 'linspace'."
    )


def _quadratic(num_train_timesteps: int, num_inference_steps: int) -> np.ndarray:
    """``(T - 1) (i / (N - 1))^2``, rounded; where the lowest would coincide, each takes the next one that is free."""
    grid = np.round((num_train_timesteps - 1) * np.linspace(1, 0, num_inference_steps) ** 2)[::-1]
    i = np.arange(num_inference_steps)
    return np.minimum(np.maximum.accumulate(grid - i), num_train_timesteps - num_inference_steps) + i
