# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import gc
import math
import pickle

import numpy as np
import pytest
import torch
from monai.inferers import DiffusionInferer
from torch.testing import assert_close

from monai_diffae.inferers import DiffusionAutoencoderInferer, LatentSampler
from monai_diffae.schedulers import InvertibleDDIMScheduler, MultistepDDIMScheduler
from monai_diffae.schedulers.multistep_ddim import extrapolation
from monai_diffae.semantics import LatentStatistics

SPACINGS = ("leading", "trailing", "linspace", "quadratic")
PREDICTIONS = ("epsilon", "sample", "v_prediction")


def answer(prediction_type: str, x: torch.Tensor, alpha_bar: float, deviation: float) -> torch.Tensor:
    """The best prediction where pixels are N(0, deviation^2)."""
    signal, noise = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    eps = noise * x / (alpha_bar * deviation**2 + 1 - alpha_bar)
    x_0 = (x - noise * eps) / signal
    return {"epsilon": eps, "sample": x_0, "v_prediction": signal * eps - noise * x_0}[prediction_type]


def decode(scheduler: InvertibleDDIMScheduler, deviation: float = 0.5, until: int = 0) -> torch.Tensor:
    """From 1 at the highest level to the sample after the step at the timestep ``until``."""
    x = torch.ones(1, dtype=torch.float64)
    for t in scheduler.timesteps:
        if t < until:
            break
        x, _ = scheduler.step(answer(scheduler.prediction_type, x, scheduler.alphas_cumprod[t], deviation), t, x)
    return x


def error(kind: type, steps: int, spacing: str, deviation: float, prediction_type: str = "epsilon") -> float:
    """Of the decoded sample, relative to where the exact trajectory ends."""
    scheduler = kind(timestep_spacing=spacing, prediction_type=prediction_type)
    scheduler.set_timesteps(steps)
    highest = float(scheduler.alphas_cumprod[scheduler.timesteps[0]])
    return abs(float(decode(scheduler, deviation)) * math.sqrt(highest + (1 - highest) / deviation**2) - 1)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("deviation", [0.5, 2.0])
def test_halving_the_step_quarters_the_error_on_gaussian_data(deviation, spacing):
    errors = [error(MultistepDDIMScheduler, steps, spacing, deviation) for steps in (50, 100, 200)]
    assert 3.5 < errors[0] / errors[1] < 4.7
    assert 3.5 < errors[1] / errors[2] < 4.7
    assert errors[0] < error(InvertibleDDIMScheduler, 200, spacing, deviation)


@pytest.mark.parametrize("steps", [10, 20, 50])
@pytest.mark.parametrize("deviation", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_it_is_never_further_off_than_ddim(spacing, deviation, steps):
    second, first = (
        error(kind, steps, spacing, deviation) for kind in (MultistepDDIMScheduler, InvertibleDDIMScheduler)
    )
    assert second < first


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_parametrisation_takes_the_same_steps(spacing, prediction_type):
    ends = []
    for kind in ("epsilon", prediction_type):
        scheduler = MultistepDDIMScheduler(timestep_spacing=spacing, prediction_type=kind)
        scheduler.set_timesteps(10)
        ends.append(decode(scheduler))
    assert_close(ends[1], ends[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("levels", [(0.1, 0.3, 0.6), (0.9, 0.99, 1.0), (1e-5, 1e-4, 0.01)])
def test_extrapolation_integrates_a_line_in_the_signal(levels):
    before, start, end = levels
    signal = np.linspace(math.sqrt(start), math.sqrt(end), 200_001)[:-1]
    line = (signal - math.sqrt(start)) / (math.sqrt(start) - math.sqrt(before))  # 0 at start, -1 before
    weight = (1 - signal**2) ** -1.5  # d(signal / sigma) / d signal
    expected = np.average(line, weights=weight)
    assert extrapolation(*levels) == pytest.approx(expected, rel=2e-2 if end == 1 else 1e-4)


def test_codes_of_the_latent_diffusion_keep_their_deviation():
    scheduler = MultistepDDIMScheduler(schedule="constant_beta")
    scheduler.set_timesteps(20)
    assert decode(scheduler, deviation=1.0).item() == pytest.approx(1, abs=1e-3)
    ddim = InvertibleDDIMScheduler(schedule="constant_beta")
    ddim.set_timesteps(500)
    assert decode(ddim, deviation=1.0).item() == pytest.approx(0.986, abs=1e-3)


# What a step remembers


def test_first_step_is_that_of_ddim_and_later_ones_are_not(device):
    scheduler, ddim = MultistepDDIMScheduler(), InvertibleDDIMScheduler()
    x = torch.randn(2, 1, 4, 4, device=device)
    for each in (scheduler, ddim):
        each.set_timesteps(10)
    first, _ = scheduler.step(torch.tanh(x), 900, x)
    assert torch.equal(first, ddim.step(torch.tanh(x), 900, x)[0])
    second, x_0 = scheduler.step(torch.tanh(first), 800, first)
    expected, expected_x_0 = ddim.step(torch.tanh(first), 800, first)
    assert (second - expected).abs().max() > 1e-4
    assert_close(x_0, expected_x_0)
    assert second.device == x.device


def test_a_sample_that_no_step_returned_or_of_another_grid_takes_the_step_of_ddim():
    scheduler, ddim = MultistepDDIMScheduler(), InvertibleDDIMScheduler()
    for each in (scheduler, ddim):
        each.set_timesteps(10)
    x = torch.randn(2, 3)
    second, _ = scheduler.step(torch.tanh(x), 900, x)
    changed = second + 0
    assert torch.equal(scheduler.step(changed, 800, changed)[0], ddim.step(changed, 800, changed)[0])
    for each in (scheduler, ddim):
        each.set_timesteps(20)
    assert torch.equal(scheduler.step(second, 750, second)[0], ddim.step(second, 750, second)[0])


def test_loops_side_by_side_do_not_know_of_each_other():
    scheduler = MultistepDDIMScheduler()
    scheduler.set_timesteps(10)

    def advance(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return scheduler.step(torch.tanh(x), t, x)[0]

    starts, alone = torch.randn(2, 2, 3), []
    for x in starts:
        for t in scheduler.timesteps:
            x = advance(x, t)
        alone.append(x)
    a, b = starts
    for t in scheduler.timesteps:
        a, b = advance(a, t), advance(b, t)
    assert torch.equal(a, alone[0])
    assert torch.equal(b, alone[1])


def test_nothing_is_kept_of_samples_that_are_gone():
    scheduler = MultistepDDIMScheduler()
    scheduler.set_timesteps(10)
    x = decode(scheduler)
    gc.collect()
    assert len(scheduler._predictions) == 1
    del x
    gc.collect()
    assert len(scheduler._predictions) == 0
    assert copy.deepcopy(scheduler).timesteps.equal(scheduler.timesteps)


def test_clipping_bounds_what_is_extrapolated_too():
    scheduler = MultistepDDIMScheduler(prediction_type="sample", clip_sample=True)
    scheduler.set_timesteps(10)
    x, _ = scheduler.step(torch.full((1, 1), -0.9, dtype=torch.float64), 900, torch.zeros(1, 1, dtype=torch.float64))
    x_to, x_0 = scheduler.step(torch.full_like(x, 0.9), 800, x)
    assert x_0.item() == pytest.approx(0.9)
    start, end = (float(scheduler.alphas_cumprod[t]) for t in (800, 700))
    assert extrapolation(float(scheduler.alphas_cumprod[900]), start, end) > 0.5  # far beyond 1
    eps = (x - math.sqrt(start)) / math.sqrt(1 - start)
    assert_close(x_to, math.sqrt(end) + math.sqrt(1 - end) * eps)


def test_one_like_another_has_its_levels_and_conventions():
    given = InvertibleDDIMScheduler(
        50, "constant_beta", "trailing", "v_prediction", True, clip_sample_min=-2, clip_sample_max=3, beta=0.03
    )
    scheduler = MultistepDDIMScheduler.like(given)
    for name in ("timestep_spacing", "prediction_type", "clip_sample", "clip_sample_min", "clip_sample_max"):
        assert getattr(scheduler, name) == getattr(given, name)
    assert torch.equal(scheduler.alphas_cumprod, given.alphas_cumprod)
    assert torch.equal(scheduler.timesteps, given.timesteps)
    changed = MultistepDDIMScheduler.like(given, timestep_spacing="quadratic")
    assert (changed.timestep_spacing, changed.prediction_type) == ("quadratic", "v_prediction")
    assert given.timestep_spacing == "trailing"


# Where it is used


def test_decoding_with_it_comes_closer_to_many_steps(tiny_autoencoder, device):
    z_sem = torch.randn(2, 8, device=device)
    x_T = torch.randn(2, 1, 8, 12, device=device)

    def image(kind: type, steps: int) -> torch.Tensor:
        scheduler = kind(prediction_type="v_prediction")
        return DiffusionAutoencoderInferer(scheduler, steps, verbose=False).decode(z_sem, x_T, tiny_autoencoder)

    exact = image(InvertibleDDIMScheduler, 1000)
    second, first = (
        (image(kind, 20) - exact).square().mean() for kind in (MultistepDDIMScheduler, InvertibleDDIMScheduler)
    )
    assert second < first / 2


def test_monais_inferer_and_the_latent_sampler_take_steps_of_second_order():
    scheduler = MultistepDDIMScheduler(schedule="constant_beta")

    class Normal(torch.nn.Module):
        def forward(self, x, timesteps, context=None):
            return (1 - scheduler.alphas_cumprod[timesteps.long()]).sqrt().to(x)[:, None] * x

    noise = torch.randn(4, 3)
    statistics = LatentStatistics(torch.zeros(3), torch.ones(3))
    z_sem = LatentSampler(Normal(), scheduler, statistics, num_inference_steps=20).denoise(noise)
    assert_close(z_sem, noise, rtol=5e-3, atol=0)
    scheduler.set_timesteps(20)
    assert torch.equal(DiffusionInferer(scheduler).sample(noise, Normal(), verbose=False), z_sem)


# What is refused


def test_noise_is_refused():
    scheduler = MultistepDDIMScheduler()
    scheduler.set_timesteps(10)
    with pytest.raises(ValueError, match=r"eta must be 0, got 0\.5"):
        scheduler.step(torch.zeros(1, 1), 900, torch.zeros(1, 1), eta=0.5)


def test_exact_inversion_is_refused():
    with pytest.raises(ValueError, match="MultistepDDIMScheduler with clip_sample=False has not"):
        DiffusionAutoencoderInferer(MultistepDDIMScheduler(), 10, inversion="exact")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda scheduler: pickle.loads(pickle.dumps(scheduler))])
def test_copies_of_a_scheduler_that_has_stepped_give_the_same_steps(copied):
    scheduler = MultistepDDIMScheduler()
    scheduler.set_timesteps(10)
    noise, output = torch.randn(2, 3), torch.randn(2, 3)
    first, second = (int(t) for t in scheduler.timesteps[:2])
    sample, _ = scheduler.step(output, first, noise)
    copy_of_it = copied(scheduler)
    copy_of_sample, _ = copy_of_it.step(output, first, noise)
    torch.testing.assert_close(copy_of_sample, sample)
    expected = scheduler.step(2 * output, second, sample)[0]
    torch.testing.assert_close(copy_of_it.step(2 * output, second, copy_of_sample)[0], expected)
    # A sample that the copy has not made itself takes a step of first order.
    assert (copy_of_it.step(2 * output, second, sample)[0] - expected).abs().max() > 1e-4
