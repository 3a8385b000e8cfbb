# SPDX-License-Identifier: Apache-2.0
"""The inverse of decoding: for each step the x at the higher level from which ``step`` returns the given x."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from monai.utils import unsqueeze_right

from monai_diffae.inferers.anderson import AndersonMixing
from monai_diffae.schedulers import Grid, InvertibleDDIMScheduler

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

    def to(self, device: torch.device) -> Inversion:
        """All of it on one device."""
        return type(self)(*(getattr(self, field.name).to(device) for field in fields(self)))

    def report(self) -> dict[str, torch.Tensor]:
        """``x_T_evaluations`` and ``x_T_residual``, the names that they have in results and tables."""
        return {"x_T_evaluations": self.evaluations, "x_T_residual": self.residual}


Rows = slice | torch.Tensor


@dataclass(frozen=True)
class _Solution:
    x: torch.Tensor
    output: torch.Tensor  # of the network, for the guess at the next level
    residual: torch.Tensor  # on the CPU, as are the evaluations
    evaluations: torch.Tensor


def _root_mean_square(x: torch.Tensor) -> torch.Tensor:
    return x.to(_at_least_float32(x)).flatten(1).square().mean(dim=1).sqrt()


def _at_least_float32(x: torch.Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


class _Ledger:
    """What became of every row so far. It is kept on the CPU, which gets one small tensor a round and gives one.

    Args:
        allowed: root mean square of a residual at which a row is solved, shape ``(B,)``.
        most: evaluations of a row.
    """

    def __init__(self, allowed: torch.Tensor, most: torch.Tensor) -> None:
        self.allowed, self.most = allowed, most
        self.open = torch.arange(len(allowed))
        self.smallest = torch.full_like(allowed, torch.inf)
        self.damping = torch.ones_like(allowed)
        self.evaluations, self.failures = torch.zeros_like(self.open), torch.zeros_like(self.open)
        self.steady = torch.ones_like(self.open, dtype=torch.bool)

    def enter(self, size: torch.Tensor) -> torch.Tensor:
        """A round, of which ``size`` is the root mean square of each open row's residual.

        Returns:
            Five numbers for each row that was open: whether the point is its best, whether it is to be taken back,
            whether the next proposal may be trusted unseen, and the damping of that; and in the last column, from the
            top, the places of those that are still open, as many as ``open`` has now.
        """
        rows = self.open
        self.evaluations[rows] += 1
        better = size < self.smallest[rows]
        self.smallest[rows] = torch.where(better, size, self.smallest[rows])
        damping = torch.where(better, 1, self.damping[rows])
        failures = torch.where(better, 0, self.failures[rows] + 1)
        worse = ~(size <= _GROWTH * self.smallest[rows]) | (failures == _PATIENCE)  # not a number is worse, too
        self.damping[rows] = torch.where(worse, damping / 2, damping)
        self.failures[rows] = torch.where(worse, _PATIENCE - 1, failures)
        self.steady[rows] &= ~worse
        trusted = better & self.steady[rows]
        still = (self.smallest[rows] > self.allowed[rows]) & (self.evaluations[rows] < self.most[rows])
        self.open = rows[still]
        stay = torch.nn.functional.pad(still.nonzero().flatten(), (0, int((~still).sum())))
        return torch.stack([mark.double() for mark in (better, worse, trusted, self.damping[rows], stay)], dim=1)


def _solve(
    guess: torch.Tensor,
    evaluate: Callable[[torch.Tensor, Rows], tuple[torch.Tensor, torch.Tensor]],
    allowed: torch.Tensor,
    most: torch.Tensor,
    window: int = 5,
) -> _Solution:
    """Solve ``residual(x) = 0`` for every row, until its root mean square is ``allowed`` or ``most`` are evaluated.

    A row whose residual grows, or gets no smaller for long, goes back to its best point with half the step and nothing
    remembered, until that makes it smaller. ``evaluate(x, rows)`` gives the network's output and the residual;
    ``allowed`` and ``most`` are on the CPU. A GPU is waited for once a round, for numbers of a few bytes a row.
    """
    ledger, mixing = _Ledger(allowed, most), AndersonMixing(window)
    rows: Rows = slice(None)  # of the batch, that are not solved yet
    x, solution = guess, guess.clone()
    best, best_residual, best_output = guess.clone(), torch.zeros_like(guess), torch.zeros_like(guess)
    while len(ledger.open):
        output, residual = evaluate(x, rows)
        size = _root_mean_square(residual)
        found = torch.cat([size[:, None], mixing.observe(x, residual).to(size)], dim=1).cpu()
        orders = torch.cat([ledger.enter(found[:, 0]), mixing.mixture(found[:, 1:])], dim=1).to(found).to(x.device)
        better, worse, trusted = (unsqueeze_right(mark.bool(), x.ndim) for mark in orders[:, :3].unbind(dim=1))
        damping, stay, mixture = orders[:, 3], orders[: len(ledger.open), 4].long(), orders[:, 5:]
        best[rows] = torch.where(better, x, best[rows])
        best_residual[rows] = torch.where(better, residual, best_residual[rows])
        best_output[rows] = torch.where(better, output, best_output[rows])
        x, residual = torch.where(worse, best[rows], x), torch.where(worse, best_residual[rows], residual)
        mixing.restart(worse.flatten(), x, residual)
        x = mixing.propose(x, residual, mixture, damping)
        # The update after the last evaluation costs nothing; it is taken where none before had to be taken back.
        solution[rows] = torch.where(trusted, x, best[rows])
        if len(stay) < len(x):
            rows, x = stay if isinstance(rows, slice) else rows[stay], x[stay]
            mixing.keep(stay)
    return _Solution(solution, best_output, ledger.smallest, ledger.evaluations)


def invert_exactly(
    images: torch.Tensor,
    predict: Callable[[torch.Tensor, torch.Tensor, Rows], torch.Tensor],
    scheduler: InvertibleDDIMScheduler,
    grid: Grid,
    tolerance: float,
    max_evaluations: int,
    window: int = 5,
    progress: Callable[[Sequence], Iterable] = iter,
) -> Inversion:
    """The x_T that decoding turns into ``images``, by solving each step of the decoding for where it starts.

    Steps differ widely in what they cost: near the image several evaluations, near the noise a single one. So the error
    is shared out by need: a step may leave half of the (squared) tolerance that the steps before it have left over,
    and spend half of the evaluations that are to spare when each later step has one.

    Args:
        images: x_0, shape ``(B, C, *spatial)``.
        predict: from x, a timestep of shape ``(1,)`` on the images' device, and the rows of the batch that x holds (a
            slice, or indices on that device), to the network's output.
        scheduler: moves along the grid.
        grid: of the decoding.
        tolerance: of :attr:`Inversion.residual`.
        max_evaluations: for each image, over all steps; at least the number of steps.
        window: of :class:`~monai_diffae.inferers.anderson.AndersonMixing`.
        progress: shows how far a loop is.
    """
    left = torch.full((len(images),), tolerance**2, dtype=_at_least_float32(images))
    squared = torch.zeros_like(left)
    evaluations = torch.zeros(len(images), dtype=torch.int64)
    x, below, output = images, None, None  # the lower level: its timestep, and what the network says there
    for place, (t, timestep) in enumerate(progress(grid.steps(images.device)[::-1])):
        if output is None:  # no noise is known yet
            guess = scheduler.add_noise(x, torch.zeros_like(x), timestep)
        else:  # the explicit inversion's step
            guess, _ = scheduler.reversed_step(output, below, x, grid)

        def evaluate(
            point: torch.Tensor,
            rows: Rows,
            t: int = t,
            timestep: torch.Tensor = timestep,
            target: torch.Tensor = x,
        ) -> tuple[torch.Tensor, torch.Tensor]:
            output = predict(point, timestep, rows)
            return output, scheduler.step(output, t, point, grid=grid)[0] - target[rows]

        to_spare = max_evaluations - evaluations - (len(grid) - place)
        solution = _solve(guess, evaluate, (left / 2).sqrt(), 1 + (to_spare + 1) // 2, window)
        x, below, output = solution.x, t, solution.output
        evaluations += solution.evaluations
        squared += solution.residual**2
        left -= torch.minimum(solution.residual**2, left / 2)  # a step that failed takes no more than its share
    return Inversion(x, evaluations, squared.sqrt())
