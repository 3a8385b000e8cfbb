# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_diffae.inferers.anderson import AndersonMixing


@pytest.fixture
def system(device) -> tuple[torch.Tensor, torch.Tensor]:
    """Two linear systems of three unknowns, on which the plain iteration diverges."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64) + 4 * torch.eye(3)
    return matrix.to(device), torch.randn(2, 3, generator=generator, dtype=torch.float64).to(device)


def iterate(system, window: int, count: int, mixing: AndersonMixing | None = None) -> torch.Tensor:
    """Residuals ``(count, 2)`` on the way."""
    (matrix, known), mixing = system, mixing or AndersonMixing(window)
    x, sizes, damping = torch.zeros_like(known), [], torch.ones(2, device=known.device)
    for _ in range(count):
        residual = torch.einsum("bij,bj->bi", matrix, x) - known
        sizes.append(residual.norm(dim=1))
        x = mixing(x, residual, damping)
    return torch.stack(sizes)


def test_a_linear_system_is_solved_when_the_window_spans_it(system):
    sizes = iterate(system, window=3, count=5)
    assert (sizes[3] > 1e-6).all()
    assert (sizes[4] < 1e-9).all()


def test_window_0_is_the_plain_iteration_and_diverges_here(system):
    known = system[1]
    x, residual = torch.zeros_like(known), -known
    halves = torch.full((2,), 0.5, device=known.device)
    torch.testing.assert_close(AndersonMixing(0)(x, residual, halves), known / 2)
    assert (iterate(system, window=0, count=6)[-1] > 10).all()


def test_window_1_is_the_secant_on_one_unknown(device):
    mixing, damping = AndersonMixing(1), torch.ones(1, device=device)
    x_0 = torch.tensor([[0.3]], dtype=torch.float64, device=device)
    r_0 = x_0**3 - 0.5
    x_1 = mixing(x_0, r_0, damping)
    r_1 = x_1**3 - 0.5
    secant = x_1 - r_1 * (x_1 - x_0) / (r_1 - r_0)
    torch.testing.assert_close(mixing(x_1, r_1, damping), secant)


def test_rows_do_not_know_of_each_other(system):
    together = iterate(system, window=3, count=4)
    for row in (0, 1):
        alone = (system[0][[row, row]], system[1][[row, row]])
        torch.testing.assert_close(iterate(alone, window=3, count=4)[:, 0], together[:, row])


def after_two_steps(system) -> tuple:
    """The point, its residual, the damping, and two mixings that know of the same points."""
    matrix, known = system
    mixings = AndersonMixing(3), AndersonMixing(3)
    x, damping = torch.zeros_like(known), torch.ones(2, device=known.device)
    for _ in range(2):
        residual = torch.einsum("bij,bj->bi", matrix, x) - known
        x, _ = (mixing(x, residual, damping) for mixing in mixings)
    return x, torch.einsum("bij,bj->bi", matrix, x) - known, damping, *mixings


def test_kept_rows_go_on_as_if_nothing_had_happened(system):
    x, residual, damping, mixing, whole = after_two_steps(system)
    mixing.keep(torch.tensor([False, True], device=x.device))
    torch.testing.assert_close(mixing(x[1:], residual[1:], damping[1:]), whole(x, residual, damping)[1:])


def test_a_restarted_row_takes_the_plain_step_and_the_other_one_does_not(system):
    x, residual, damping, mixing, whole = after_two_steps(system)
    mixing.restart(torch.tensor([True, False], device=x.device), x, residual)
    proposed = mixing(x, residual, damping)
    torch.testing.assert_close(proposed[0], (x - residual)[0])
    torch.testing.assert_close(proposed[1], whole(x, residual, damping)[1])
    assert (proposed[1] - (x - residual)[1]).abs().max() > 1e-3
