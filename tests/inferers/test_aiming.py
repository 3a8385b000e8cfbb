# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from monai_diffae.inferers.aiming import aim

CURVES: dict[str, Callable[[float], float]] = {
    "a line": lambda f: 3 * f,
    "a slow line": lambda f: 0.2 * f,
    "a slow start": lambda f: 0.2 * f**2,
    "an early bend": lambda f: math.tanh(2 * f) + 0.01 * f,
    "a late step": lambda f: math.tanh(4 * (f - 2)) - math.tanh(-8),
    "a negative target": lambda f: -0.3 * f,
}


def run(curves: list[Callable], start: list[float], target: list[float], max_evaluations: int, device: str):
    """The factors, and for each curve where it was evaluated."""
    tried: list[list[float]] = [[] for _ in curves]

    def value_at(factors: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        for factor, row in zip(factors.tolist(), rows.tolist(), strict=True):
            tried[row].append(factor)
        return torch.tensor([curves[row](tried[row][-1]) for row in rows.tolist()], device=device)

    start, target = (torch.tensor(values, device=device) for values in (start, target))
    return aim(value_at, start, target, max_evaluations), tried


def test_moves_reach_their_targets_each_by_itself(device):
    curves = list(CURVES.values())
    target = [1.0, 1.0, 1.0, 0.5, 1.0, -1.0]
    factors, tried = run(curves, [0.0] * 6, target, 10, device)
    for name, curve, factor, wanted, attempts in zip(CURVES, curves, factors.tolist(), target, tried):
        assert curve(factor) == pytest.approx(wanted, abs=0.05 * abs(wanted) + 1e-6), name
        assert attempts[0] == 1, name
        assert len(attempts) <= 7, name
        assert len(set(attempts)) == len(attempts), name
        alone, _ = run([curve], [0.0], [wanted], 10, device)
        assert float(alone) == pytest.approx(factor, rel=1e-6), name


def test_each_may_have_a_tolerance_of_its_own(device):
    tolerance = torch.tensor([0.5, 1e-4], device=device)
    start, target = torch.zeros(2, device=device), torch.ones(2, device=device)
    factors = aim(lambda f, rows: 0.6 * f**1.5, start, target, 20, tolerance)
    assert factors[0] == 1
    assert float(0.6 * factors[1] ** 1.5) == pytest.approx(1, abs=1e-4)


def test_what_the_move_reaches_already_is_tried_once(device):
    factors, tried = run([lambda f: 2 + 1.02 * f], [2.0], [3.0], 8, device)
    assert factors.tolist() == [1.0]
    assert tried == [[1.0]]


def test_what_does_not_answer_stays_as_it_is(device):
    curves = [lambda f: 0.0, lambda f: -f]  # no change, and a change the wrong way
    factors, tried = run(curves, [0.0, 0.0], [1.0, 1.0], 20, device)
    assert factors.tolist() == [1.0, 1.0]
    assert tried == [[1.0, 2.0, 4.0, 8.0]] * 2


def test_the_nearest_attempt_counts_where_the_target_is_not_reached(device):
    curves = [lambda f: min(0.3 * f, 0.5), lambda f: 0.1 * f if f < 3 else 9.0]
    factors, tried = run(curves, [0.0, 0.0], [1.0, 1.0], 4, device)
    values = [[curve(f) for f in attempts] for curve, attempts in zip(curves, tried)]
    for curve, factor, reached in zip(curves, factors.tolist(), values):
        assert abs(curve(factor) - 1) == min(abs(value - 1) for value in reached)
    assert factors[0] > 1


def test_a_target_at_the_start_needs_no_attempt(device):
    factors, tried = run([lambda f: f], [1.0], [1.0], 5, device)
    assert factors.tolist() == [1.0]
    assert tried == [[]]


@pytest.mark.parametrize("max_evaluations", [1, 2, 3])
def test_no_move_takes_more_attempts_than_are_allowed(device, max_evaluations):
    _, tried = run([lambda f: 0.15 * f], [0.0], [1.0], max_evaluations, device)
    assert len(tried[0]) == max_evaluations


def test_aiming_without_an_attempt_is_refused():
    with pytest.raises(ValueError, match="1 or more, got 0"):
        run([lambda f: f], [0.0], [1.0], 0, "cpu")
