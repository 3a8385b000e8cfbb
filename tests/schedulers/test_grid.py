# SPDX-License-Identifier: Apache-2.0
"""Loops side by side on one scheduler."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import threading
from collections.abc import Callable

import pytest
import torch

from monai_diffae.inferers import DiffusionAutoencoderInferer, LatentSampler
from monai_diffae.networks import LatentDenoiser
from monai_diffae.schedulers import Grid, InvertibleDDIMScheduler, MultistepDDIMScheduler
from monai_diffae.semantics import LatentStatistics

KINDS = [InvertibleDDIMScheduler, MultistepDDIMScheduler]


def test_a_grid_holds_the_levels_around_its_timesteps_and_does_not_change():
    scheduler = InvertibleDDIMScheduler()
    grid = scheduler.grid(4)
    assert grid.timesteps == (750, 500, 250, 0)
    assert grid.levels == (1.0, *scheduler.alphas_cumprod[[0, 250, 500, 750]].tolist(), 0.0)
    assert (len(grid), grid.place(250), grid.place(torch.tensor(750.0))) == (4, 2, 4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        grid.levels = ()
    with pytest.raises(ValueError, match=r"Timestep 999 is not on the grid of 4 steps; .* \[750, 500, 250, 0\]"):
        grid.place(999)


def test_a_grid_leaves_that_of_set_timesteps_as_it_is():
    scheduler = InvertibleDDIMScheduler()
    scheduler.set_timesteps(5)
    scheduler.grid(4)
    assert scheduler.timesteps.tolist() == [800, 600, 400, 200, 0]
    assert scheduler.num_inference_steps == 5


def test_steps_of_a_grid_are_numbers_and_tensors_on_a_device(device):
    steps = InvertibleDDIMScheduler().grid(4).steps(device)
    assert [t for t, _ in steps] == [750, 500, 250, 0]
    for t, timestep in steps:
        assert timestep.tolist() == [t]
        assert timestep.device.type == torch.device(device).type
        assert timestep.dtype == torch.int64


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("move", ["step", "reversed_step"])
def test_a_step_goes_along_the_grid_that_it_is_given(kind, move):
    x, output = torch.randn(2, 3), torch.randn(2, 3)
    scheduler, alone = kind(), kind()
    alone.set_timesteps(4)
    scheduler.set_timesteps(10)
    found = getattr(scheduler, move)(output, 250, x, grid=scheduler.grid(4))
    torch.testing.assert_close(found, getattr(alone, move)(output, 250, x), rtol=0, atol=0)
    with pytest.raises(ValueError, match="not on the grid of 10 steps"):
        getattr(scheduler, move)(output, 250, x)


def loops(scheduler: InvertibleDDIMScheduler, steps: int, **options) -> DiffusionAutoencoderInferer:
    return DiffusionAutoencoderInferer(scheduler, steps, verbose=False, **options)


@pytest.mark.parametrize("inversion", ["explicit", "exact"])
def test_a_loop_inside_a_loop_of_the_same_scheduler_does_not_disturb_it(tiny_autoencoder, device, inversion):
    images = torch.rand(2, 1, 8, 8, device=device) * 2 - 1
    scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
    inferer, other = loops(scheduler, 4, inversion=inversion), loops(scheduler, 10)
    z_sem = tiny_autoencoder.encode(images).detach()

    def round_trip(network: Callable) -> torch.Tensor:
        return inferer.decode(z_sem, inferer.invert(images, network, z_sem), network)

    expected = round_trip(tiny_autoencoder)

    def disturbed(x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        other.decode(context, x, tiny_autoencoder)
        return tiny_autoencoder(x, timesteps, context=context)

    torch.testing.assert_close(round_trip(disturbed), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_share_a_scheduler(tiny_autoencoder, device, kind):
    """Each waits for the other before every step, so that the steps of all loops alternate."""
    scheduler = kind(prediction_type="v_prediction")
    x_T, z_sem = torch.randn(1, 1, 8, 8).to(device), torch.randn(1, 8).to(device)
    network = LatentDenoiser(z_dim=8, hidden_dim=8, num_layers=2).eval().to(device)
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8))
    meeting = threading.Barrier(3)

    def in_turn(network: Callable) -> Callable:
        def call(x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
            with contextlib.suppress(threading.BrokenBarrierError):  # the others are done
                meeting.wait(timeout=30)
            return network(x, timesteps, context=context)

        return call

    def tasks(scheduler: InvertibleDDIMScheduler, wrap: Callable) -> list[Callable[[], torch.Tensor]]:
        inferers = [loops(scheduler, steps) for steps in (4, 10)]
        sampler = LatentSampler(wrap(network), scheduler, statistics, num_inference_steps=8)
        return [lambda i=i: i.decode(z_sem, x_T, wrap(tiny_autoencoder)) for i in inferers] + [
            lambda: sampler([0], device)["z_sem"]
        ]

    expected = [task() for task in tasks(copy.deepcopy(scheduler), lambda network: network)]
    found: dict[int, torch.Tensor] = {}

    def work(k: int, task: Callable[[], torch.Tensor]) -> None:
        try:
            found[k] = task()
        finally:
            meeting.abort()

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(tasks(scheduler, in_turn))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, result in enumerate(expected):
        torch.testing.assert_close(found[k], result, rtol=0, atol=1e-6)


def test_grids_of_copied_schedulers_are_equal_and_can_be_hashed():
    scheduler = InvertibleDDIMScheduler()
    assert copy.deepcopy(scheduler).grid(20) == scheduler.grid(20) != scheduler.grid(10)
    assert len({scheduler.grid(20), scheduler.grid(20), Grid((0,), (1.0, 0.5, 0.0))}) == 2
