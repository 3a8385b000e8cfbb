# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from monai.networks.schedulers import DDIMScheduler
from torch.testing import assert_close

from monai_diffae.schedulers import InvertibleDDIMScheduler, ddim_update

T = 1000
SPACINGS = ("leading", "trailing", "linspace", "quadratic")
PREDICTIONS = ("epsilon", "sample", "v_prediction")
ALPHA_BAR = np.cumprod(1 - np.linspace(1e-4, 2e-2, T))  # the paper's schedule


def scheduler_of(num_inference_steps: int, **arguments) -> InvertibleDDIMScheduler:
    scheduler = InvertibleDDIMScheduler(**arguments)
    scheduler.set_timesteps(num_inference_steps)
    return scheduler


def noised(x_0: torch.Tensor, eps: torch.Tensor, alpha_bar: float) -> torch.Tensor:
    return math.sqrt(alpha_bar) * x_0 + math.sqrt(1 - alpha_bar) * eps


def model_output_of(prediction_type: str, x_0: torch.Tensor, eps: torch.Tensor, alpha_bar: float) -> torch.Tensor:
    """What a perfect network of this parametrisation says."""
    v = math.sqrt(alpha_bar) * eps - math.sqrt(1 - alpha_bar) * x_0
    return {"epsilon": eps, "sample": x_0, "v_prediction": v}[prediction_type]


def draw(*shape: int, count: int = 2, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [torch.randn(shape, dtype=torch.float64).to(dtype) for _ in range(count)]


# The grid and its levels


@pytest.mark.parametrize(
    ("spacing", "grid"),
    [
        ("leading", [750, 500, 250, 0]),
        ("trailing", [999, 749, 499, 249]),
        ("linspace", [999, 666, 333, 0]),
        ("quadratic", [999, 444, 111, 0]),
    ],
)
def test_grid_of_each_spacing(spacing, grid):
    timesteps = scheduler_of(4, timestep_spacing=spacing).timesteps
    assert timesteps.tolist() == grid
    assert timesteps.dtype == torch.int64


def test_leading_grid_takes_the_first_stride_that_gives_the_number_of_steps():
    assert scheduler_of(7).timesteps.tolist() == [858, 715, 572, 429, 286, 143, 0]
    assert scheduler_of(20).timesteps.tolist() == list(range(950, -1, -50))


@pytest.mark.parametrize("num_inference_steps", [1, 7, 300, 999, 1000])
@pytest.mark.parametrize("spacing", ["trailing", "linspace", "quadratic"])
def test_all_grids_but_leading_take_any_number_of_steps_and_start_at_the_last_timestep(spacing, num_inference_steps):
    timesteps = scheduler_of(num_inference_steps, timestep_spacing=spacing).timesteps
    assert len(timesteps) == num_inference_steps
    assert timesteps[0] == T - 1
    assert timesteps[-1] >= 0
    assert (timesteps.diff() < 0).all()


def test_quadratic_grid_of_many_steps_takes_each_of_the_lowest_timesteps_once():
    grid = scheduler_of(100, timestep_spacing="quadratic").timesteps.flip(0).tolist()
    assert grid[:8] == [0, 1, 2, 3, 4, 5, 6, 7]  # the squares are 0, 0.1, 0.4, 0.9, 1.6, 2.5, ...
    assert grid[50:] == [round(999 * (i / 99) ** 2) for i in range(50, 100)]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_step_moves_one_level_down_and_reversed_step_one_up(spacing):
    scheduler = scheduler_of(20, timestep_spacing=spacing)
    grid = scheduler.timesteps.tolist()[::-1]
    levels = [1.0, *ALPHA_BAR[grid], 0.0]  # clean before the first, noise after the last
    x_0, eps = draw(2, 3)
    for i, t in enumerate(grid, start=1):
        x = noised(x_0, eps, levels[i])
        for move, target in ((scheduler.step, i - 1), (scheduler.reversed_step, i + 1)):
            x_to, predicted_x_0 = move(eps, torch.tensor(t), x)
            assert_close(x_to, noised(x_0, eps, levels[target]), rtol=0, atol=1e-10)
            assert_close(predicted_x_0, x_0, rtol=0, atol=1e-10)


@pytest.mark.parametrize("num_inference_steps", [1, 7, 20, 100, 250, 1000])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_steps_come_back_along_the_trajectory_of_a_constant_noise(dtype, spacing, num_inference_steps):
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4 if num_inference_steps <= 100 else 1e-3
    scheduler = scheduler_of(num_inference_steps, timestep_spacing=spacing)
    x_0, eps = draw(2, 1, 4, 4, dtype=dtype)
    upwards = scheduler.timesteps.flip(0)
    x = scheduler.add_noise(x_0, eps, upwards[:1])
    trajectory = [x_0, x]
    for t in upwards[:-1]:
        x, _ = scheduler.reversed_step(eps, t, x)
        trajectory.append(x)
    assert_close(scheduler.reversed_step(eps, upwards[-1], x)[0], eps, rtol=0, atol=tolerance)
    for t, expected in zip(scheduler.timesteps, reversed(trajectory[:-1]), strict=True):
        x, _ = scheduler.step(eps, t, x)
        assert x.dtype == dtype
        assert_close(x, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_decode_equals_the_textbook_loop(spacing):
    scheduler = scheduler_of(25, timestep_spacing=spacing)
    (x_T,) = draw(2, 5, count=1)

    x = x_T
    timesteps = scheduler.timesteps.tolist()
    for t_from, t_to in zip(timesteps, [*timesteps[1:], None], strict=True):
        a, b = ALPHA_BAR[t_from], 1.0 if t_to is None else ALPHA_BAR[t_to]
        eps = torch.tanh(x + t_from / T)
        x = b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b) ** 0.5 * eps

    y = x_T
    for t in scheduler.timesteps:
        y, _ = scheduler.step(torch.tanh(y + t.item() / T), t, y)
    assert_close(y, x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("direction", ["decode", "invert"])
def test_halving_the_step_halves_the_error_on_gaussian_data(direction, spacing):
    """For pixels of N(0, s^2) the best eps is linear in x_t, and the exact map between x_0 and x_T is x_0 = s x_T."""
    s = 0.5
    errors = []
    for num_inference_steps in (50, 100, 200):
        scheduler = scheduler_of(num_inference_steps, timestep_spacing=spacing)
        x = torch.ones(1, dtype=torch.float64)
        for t in scheduler.timesteps if direction == "decode" else scheduler.timesteps.flip(0):
            alpha_bar = ALPHA_BAR[t]
            eps = math.sqrt(1 - alpha_bar) / (alpha_bar * s**2 + 1 - alpha_bar) * x
            x, _ = (scheduler.step if direction == "decode" else scheduler.reversed_step)(eps, t, x)
        errors.append(abs(x.item() / s - 1) if direction == "decode" else abs(x.item() * s - 1))
    assert errors[0] < 0.06
    assert 1.9 < errors[0] / errors[1] < 2.1
    assert 1.9 < errors[1] / errors[2] < 2.1


def test_ddim_update_between_equal_levels_changes_nothing():
    x, eps = draw(2, 3)
    assert_close(ddim_update(x, eps, 0.3, 0.3), x)


# Parametrisation and clipping


@pytest.mark.parametrize("prediction_type", ["sample", "v_prediction"])
@pytest.mark.parametrize("name", ["step", "reversed_step"])
def test_every_parametrisation_moves_as_epsilon_does(name, prediction_type):
    scheduler, reference = scheduler_of(10, prediction_type=prediction_type), scheduler_of(10)
    x_0, eps = draw(2, 3)
    for t in scheduler.timesteps:
        x = noised(x_0, eps, ALPHA_BAR[t])
        output = model_output_of(prediction_type, x_0, eps, ALPHA_BAR[t])
        for given, expected in zip(getattr(scheduler, name)(output, t, x), getattr(reference, name)(eps, t, x)):
            assert_close(given, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize(("name", "t_to"), [("step", 400), ("reversed_step", 600)])
def test_clipping_bounds_x_0_on_both_sides_and_derives_eps_again(name, t_to, prediction_type):
    scheduler = scheduler_of(
        10, prediction_type=prediction_type, clip_sample=True, clip_sample_min=-0.5, clip_sample_max=0.8
    )
    x_0, eps = torch.tensor([[-2.0, -0.4, 0.7, 3.0]], dtype=torch.float64), *draw(1, 4, count=1)
    clipped = torch.tensor([[-0.5, -0.4, 0.7, 0.8]], dtype=torch.float64)
    x = noised(x_0, eps, ALPHA_BAR[500])
    derived_eps = (x - math.sqrt(ALPHA_BAR[500]) * clipped) / math.sqrt(1 - ALPHA_BAR[500])
    output = model_output_of(prediction_type, x_0, eps, ALPHA_BAR[500])
    x_to, predicted_x_0 = getattr(scheduler, name)(output, 500, x)
    assert_close(predicted_x_0, clipped, rtol=0, atol=1e-10)
    assert_close(x_to, noised(clipped, derived_eps, ALPHA_BAR[t_to]), rtol=0, atol=1e-10)


# Noise


@pytest.mark.parametrize("t", [1, 500, 999])
def test_eta_1_draws_from_the_ddpm_posterior(t):
    scheduler = InvertibleDDIMScheduler()
    x_0, eps = draw(2, 3, 8)
    x = noised(x_0, eps, ALPHA_BAR[t])
    x_to, _ = scheduler.step(eps, t, x, eta=1.0, generator=torch.Generator().manual_seed(5))
    beta = 1 - ALPHA_BAR[t] / ALPHA_BAR[t - 1]
    mean = math.sqrt(ALPHA_BAR[t - 1]) * beta * x_0 + math.sqrt(1 - beta) * (1 - ALPHA_BAR[t - 1]) * x
    variance = (1 - ALPHA_BAR[t - 1]) / (1 - ALPHA_BAR[t]) * beta
    noise = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(5))
    assert_close(x_to, mean / (1 - ALPHA_BAR[t]) + math.sqrt(variance) * noise, rtol=0, atol=1e-9)


def test_noise_of_a_step_is_reproducible_by_its_generator_and_absent_in_the_last_step():
    scheduler = scheduler_of(10)
    x, eps = draw(2, 3)
    first, again, other = (
        scheduler.step(eps, 500, x, eta=0.5, generator=torch.Generator().manual_seed(seed))[0] for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert_close(scheduler.step(eps, 0, x, eta=1.0)[0], scheduler.step(eps, 0, x)[0])


def test_add_noise_and_get_velocity_are_their_formulas_for_each_sample_of_a_batch():
    x_0, eps = draw(3, 1, 4, 4)
    timesteps = torch.tensor([0, 517, 999])
    scheduler = InvertibleDDIMScheduler()
    x_t, v = scheduler.add_noise(x_0, eps, timesteps), scheduler.get_velocity(x_0, eps, timesteps)
    for i, t in enumerate(timesteps):
        assert_close(x_t[i], noised(x_0[i], eps[i], ALPHA_BAR[t]), rtol=0, atol=1e-12)
        assert_close(v[i], model_output_of("v_prediction", x_0[i], eps[i], ALPHA_BAR[t]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("schedule", ["linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"])
def test_noise_is_that_of_monai_for_every_schedule(schedule):
    x_0, eps = draw(4, 2, 3, dtype=torch.float32)
    timesteps = torch.tensor([0, 250, 750, 999])
    given, monai = InvertibleDDIMScheduler(schedule=schedule), DDIMScheduler(schedule=schedule)
    for method in ("add_noise", "get_velocity"):
        expected = getattr(monai, method)(x_0, eps, timesteps)
        assert_close(getattr(given, method)(x_0, eps, timesteps), expected, rtol=0, atol=2e-5)


# Coefficients


def test_arguments_of_the_schedule_reach_it():
    scheduler = InvertibleDDIMScheduler(50, beta_start=0.01, beta_end=0.2)
    expected = torch.from_numpy(np.cumprod(1 - np.linspace(0.01, 0.2, 50)))
    assert_close(scheduler.alphas_cumprod, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    "cast",
    [lambda s: s.half(), lambda s: s.double(), lambda s: s.to(torch.bfloat16), lambda s: s.to("cpu", torch.float32)],
    ids=["half", "double", "to_bfloat16", "to_device_and_dtype"],
)
def test_coefficients_keep_dtype_and_values_whatever_is_cast_or_computed(cast, device):
    scheduler = cast(InvertibleDDIMScheduler().to(device))
    scheduler.set_timesteps(10, device=device)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x, eps = (tensor.to(device) for tensor in draw(1, 3, dtype=dtype))
        results = [
            scheduler.step(eps, 500, x)[0],
            scheduler.step(eps, 500, x, eta=1.0)[0],
            scheduler.reversed_step(eps, 500, x)[0],
            scheduler.add_noise(x, eps, torch.tensor([500])),
            scheduler.get_velocity(x, eps, torch.tensor([500], device=device)),
        ]
        assert {result.dtype for result in results} == {dtype}
    betas = np.linspace(1e-4, 2e-2, T)
    for name, values in {"betas": betas, "alphas": 1 - betas, "alphas_cumprod": ALPHA_BAR}.items():
        assert_close(getattr(scheduler, name).cpu(), torch.from_numpy(values), rtol=0, atol=1e-15)
    assert scheduler.timesteps.device.type == "cpu"
    assert scheduler.timesteps.dtype == torch.int64
    assert not scheduler.state_dict()


# Errors


@pytest.mark.parametrize("name", ["step", "reversed_step"])
@pytest.mark.parametrize("timestep", [-100, 50, 999, 1000, -0.5, 100.5])
def test_timestep_off_the_grid_is_an_error_that_names_the_grid(name, timestep):
    x = torch.zeros(1, 1)
    with pytest.raises(ValueError, match=rf"Timestep {timestep} is not on the grid of 10 steps.*\[900, 800"):
        getattr(scheduler_of(10), name)(x, timestep, x)


@pytest.mark.parametrize("num_inference_steps", [300, 501, 999])
def test_leading_grid_without_an_integer_stride_is_an_error(num_inference_steps):
    with pytest.raises(ValueError, match=f"1000 timesteps into {num_inference_steps} steps"):
        InvertibleDDIMScheduler().set_timesteps(num_inference_steps)


@pytest.mark.parametrize("num_inference_steps", [-1, 0, 1001])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_number_of_steps_out_of_range_is_an_error(spacing, num_inference_steps):
    with pytest.raises(ValueError, match=rf"from 1 to 1000 \(T\), got {num_inference_steps}"):
        InvertibleDDIMScheduler(timestep_spacing=spacing).set_timesteps(num_inference_steps)


@pytest.mark.parametrize(
    "arguments",
    [{"timestep_spacing": "even"}, {"prediction_type": "even"}, {"schedule": "even"}, {"num_train_timesteps": 0}],
    ids=lambda arguments: next(iter(arguments)),
)
def test_wrong_argument_of_the_constructor_is_an_error_that_names_it(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments.values()))}"):
        InvertibleDDIMScheduler(**arguments)
