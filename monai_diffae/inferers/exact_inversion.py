# SPDX-License-Identifier: Apache-2.0
"""The inverse of decoding: for each step the x at the higher level from which ``step`` returns the given x."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from monai.utils import unsqueeze_right

from monai_diffae.inferers.anderson import AndersonMixing
from monai_diffae.schedulers import InvertibleDDIMScheduler

__all__ = ["Inversion", "check_exact", "invert_exactly"]

_GROWTH = 2.0  # of the residual, that an update may make on the way to a smaller one
_PATIENCE = 6  # updates in a row that may fail to make it smaller
# Below, evaluations are spent in vain: on the shipped digits 2.5e-3 was the least that rounding left in the end.
_LOWEST_TOLERANCE = {"bfloat16": 5e-3}


def check_exact(
    scheduler: InvertibleDDIMScheduler,
    num_inference_steps: int,
    num_inversion_steps: int,
    max_evaluations: int,
    tolerance: float,
    precision: str,
) -> float:
    """The tolerance that can be reached in this precision; ValueError where there is no exact inversion."""
    if not scheduler.step_has_inverse:
        raise ValueError(
            f"inversion='exact' needs steps that have an inverse, which {type(scheduler).__name__} with "
            f"clip_sample={scheduler.clip_sample} has not. Take InvertibleDDIMScheduler with "
            "clip_sample=False, or inversion='explicit'."
        )
    if num_inversion_steps != num_inference_steps:
        raise ValueError(
            f"inversion='exact' inverts the decoding, of num_inference_steps={num_inference_steps}; got "
            f"num_inversion_steps={num_inversion_steps}. Give the same number or None."
        )
    if not tolerance > 0:
        raise ValueError(f"tolerance must be greater than 0, got {tolerance}.")
    if max_evaluations < num_inversion_steps:
        raise ValueError(
            f"max_evaluations must be at least the number of steps, {num_inversion_steps}; got {max_evaluations}."
        )
    lowest = _LOWEST_TOLERANCE.get(precision, 0.0)
    if tolerance < lowest:
        warnings.warn(
            f"A tolerance of {tolerance:g} cannot be reached in {precision}; {lowest:g} is used. Take "
            "precision='float32', or that tolerance.",
            stacklevel=3,
        )
    return max(tolerance, lowest)


@dataclass(frozen=True)
class Inversion:
    """What an inversion found for a batch of B images.

    Args:
        x_T: shape ``(B, C, *spatial)``.
        evaluations: of the network, for each image, integers of shape ``(B,)``.
        residual: root mean square of what decoding leaves between its result and the image, in the units of the image,
            shape ``(B,)``: the root of the sum, over the steps, of the squared residuals of the last points that were
            evaluated. The points that are returned are one update further on, so that the true one is smaller as a
            rule. NaN where it is not known.
    """

    x_T: torch.Tensor
    evaluations: torch.Tensor
    residual: torch.Tensor

    @classmethod
    def unchecked(cls, x_T: torch.Tensor, batch: int, evaluations: int) -> Inversion:
        """An x_T that nobody compared with the image, the same number of evaluations for each."""
        spent = torch.full((batch,), evaluations, device=x_T.device)
        return cls(x_T, spent, torch.full((batch,), torch.nan, device=x_T.device))

    @classmethod
    def cat(cls, parts: Sequence[Inversion]) -> Inversion:
        """One for several parts of a batch."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def report(self) -> dict[str, torch.Tensor]:
        """``x_T_evaluations`` and ``x_T_residual``, the names that they have in results and tables."""
        return {"x_T_evaluations": self.evaluations, "x_T_residual": self.residual}


@dataclass(frozen=True)
class _Solution:
    x: torch.Tensor
    output: torch.Tensor  # of the network, for the guess at the next level
    residual: torch.Tensor
    evaluations: torch.Tensor


def _root_mean_square(x: torch.Tensor) -> torch.Tensor:
    return x.to(_at_least_float32(x)).flatten(1).square().mean(dim=1).sqrt()


def _at_least_float32(x: torch.Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _solve(
    guess: torch.Tensor,
    evaluate: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    allowed: torch.Tensor,
    most: torch.Tensor,
    window: int = 5,
) -> _Solution:
    """Solve ``residual(x) = 0`` for every row, until its root mean square is ``allowed`` or ``most`` are evaluated.

    A row whose residual grows, or gets no smaller for long, goes back to its best point with half the step and nothing
    remembered, until that makes it smaller. ``evaluate(x, rows)`` gives the network's output and the residual.
    """
    rows = torch.arange(len(guess), device=guess.device)  # of the batch, that are not solved yet
    x, mixing = guess, AndersonMixing(window)
    smallest = torch.full((len(guess),), torch.inf, dtype=_at_least_float32(guess), device=guess.device)
    damping, evaluations, failures = torch.ones_like(smallest), torch.zeros_like(rows), torch.zeros_like(rows)
    steady = torch.ones_like(rows, dtype=torch.bool)
    best, best_residual, best_output = guess.clone(), torch.zeros_like(guess), torch.zeros_like(guess)
    solution = guess.clone()
    while len(rows):
        output, residual = evaluate(x, rows)
        size = _root_mean_square(residual)
        evaluations[rows] += 1
        better = size < smallest[rows]
        improved = rows[better]
        smallest[improved] = size[better]
        best[improved], best_residual[improved], best_output[improved] = x[better], residual[better], output[better]
        damping[improved] = 1
        failures[rows] = torch.where(better, 0, failures[rows] + 1)
        worse = ~(size <= _GROWTH * smallest[rows]) | (failures[rows] == _PATIENCE)  # not a number is worse, too
        if worse.any():
            back = rows[worse]
            damping[back], failures[back], steady[back] = damping[back] / 2, _PATIENCE - 1, False
            x = torch.where(unsqueeze_right(worse, x.ndim), best[rows], x)
            residual = torch.where(unsqueeze_right(worse, x.ndim), best_residual[rows], residual)
            mixing.restart(worse, x, residual)
        proposed = mixing(x, residual, damping[rows])
        # The update after the last evaluation costs nothing; it is taken where none before had to be taken back.
        trusted = better & steady[rows]
        solution[rows] = torch.where(unsqueeze_right(trusted, x.ndim), proposed, best[rows])
        open_ = (smallest[rows] > allowed[rows]) & (evaluations[rows] < most[rows])
        rows, x = rows[open_], proposed[open_]
        mixing.keep(open_)
    return _Solution(solution, best_output, smallest, evaluations)


def invert_exactly(
    images: torch.Tensor,
    predict: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    scheduler: InvertibleDDIMScheduler,
    timesteps: Iterable[torch.Tensor],
    tolerance: float,
    max_evaluations: int,
    window: int = 5,
) -> Inversion:
    """The x_T that decoding turns into ``images``, by solving each step of the decoding for where it starts.

    Steps differ widely in what they cost: near the image several evaluations, near the noise a single one. So the error
    is shared out by need: a step may leave half of the (squared) tolerance that the steps before it have left over,
    and spend half of the evaluations that are to spare when each later step has one.

    Args:
        images: x_0, shape ``(B, C, *spatial)``.
        predict: from x, a timestep of shape ``()`` and the rows of the batch that x holds, to the network's output.
        scheduler: with its grid set.
        timesteps: of the grid, ascending.
        tolerance: of :attr:`Inversion.residual`.
        max_evaluations: for each image, over all steps; at least the number of steps.
        window: of :class:`~monai_diffae.inferers.anderson.AndersonMixing`.
    """
    count = scheduler.num_inference_steps
    left = torch.full((len(images),), tolerance**2, dtype=_at_least_float32(images), device=images.device)
    squared = torch.zeros_like(left)
    evaluations = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    x, below, output = images, None, None  # the lower level: its timestep, and what the network says there
    for place, t in enumerate(timesteps):
        if output is None:  # no noise is known yet
            guess = scheduler.add_noise(x, torch.zeros_like(x), t.reshape(1))
        else:  # the explicit inversion's step
            guess, _ = scheduler.reversed_step(output, below, x)

        def evaluate(
            point: torch.Tensor, rows: torch.Tensor, t: torch.Tensor = t, target: torch.Tensor = x
        ) -> tuple[torch.Tensor, torch.Tensor]:
            output = predict(point, t, rows)
            return output, scheduler.step(output, t, point)[0] - target[rows]

        to_spare = max_evaluations - evaluations - (count - place)
        solution = _solve(guess, evaluate, (left / 2).sqrt(), 1 + (to_spare + 1) // 2, window)
        x, below, output = solution.x, t, solution.output
        evaluations += solution.evaluations
        squared += solution.residual**2
        left -= torch.minimum(solution.residual**2, left / 2)  # a step that failed takes no more than its share
    return Inversion(x, evaluations, squared.sqrt())
