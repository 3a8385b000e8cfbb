# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import warnings

import pytest
import torch
from monai.data import MetaTensor

from monai_diffae.inferers import DiffusionAutoencoderInferer, Inversion, ManipulationInferer, ReconstructionInferer
from monai_diffae.inferers.exact_inversion import _solve
from monai_diffae.inferers.stochastic_code import StochasticCode
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections, Edit, LatentStatistics

SPACINGS = ["leading", "trailing", "linspace"]
PREDICTIONS = ["epsilon", "sample", "v_prediction"]


class Reparametrised(torch.nn.Module):
    """A network of v that answers in another parametrisation."""

    def __init__(self, network: torch.nn.Module, prediction_type: str) -> None:
        super().__init__()
        self.network = network
        self.prediction_type = prediction_type
        self.alphas_cumprod = InvertibleDDIMScheduler().alphas_cumprod

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        return self.network.encode(image)

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        v = self.network(x, timesteps, context=context)
        alpha_bar = float(self.alphas_cumprod[int(timesteps)])
        signal, noise = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        answers = {"v_prediction": v, "epsilon": signal * v + noise * x, "sample": signal * x - noise * v}
        return answers[self.prediction_type]


def exact(steps: int = 10, spacing: str = "leading", prediction_type: str = "v_prediction", **options):
    scheduler = InvertibleDDIMScheduler(timestep_spacing=spacing, prediction_type=prediction_type)
    return DiffusionAutoencoderInferer(scheduler, steps, inversion="exact", verbose=False, **options)


def root_mean_square(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1).square().mean(dim=1).sqrt()


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_round_trip_in_float64_is_exact(tiny_autoencoder, images, device, spacing, prediction_type):
    if device == "mps":
        pytest.skip("MPS has no float64")
    network, images = Reparametrised(tiny_autoencoder, prediction_type).double(), images.double()
    inferer = exact(10, spacing, prediction_type, tolerance=1e-10, max_evaluations=300)
    z_sem = network.encode(images)
    found = inferer.invert_with_report(images, network, z_sem)
    assert (inferer.decode(z_sem, found.x_T, network) - images).abs().max() < 1e-9
    assert found.x_T.dtype == torch.float64
    assert (found.residual <= 1e-10).all()
    explicit = DiffusionAutoencoderInferer(inferer.scheduler, 10, verbose=False)
    near = explicit.decode(z_sem, explicit.invert(images, network, z_sem), network)
    assert (near - images).abs().max() > 1e-3


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
def test_round_trip_keeps_the_tolerance_and_reports_no_less_than_is_left(tiny_autoencoder, images, tolerance):
    inferer = exact(tolerance=tolerance)
    z_sem = tiny_autoencoder.encode(images)
    found = inferer.invert_with_report(images, tiny_autoencoder, z_sem)
    left = root_mean_square(inferer.decode(z_sem, found.x_T, tiny_autoencoder) - images)
    assert (left < found.residual).all()
    assert (found.residual <= tolerance).all()


def test_a_smaller_tolerance_costs_more_evaluations(tiny_autoencoder, images):
    z_sem = tiny_autoencoder.encode(images)
    costs = [
        exact(tolerance=tolerance).invert_with_report(images, tiny_autoencoder, z_sem).evaluations
        for tolerance in (1e-1, 1e-3, 1e-5)
    ]
    assert (costs[0] < costs[1]).all()
    assert (costs[1] < costs[2]).all()


def test_images_that_are_solved_leave_the_batch(tiny_autoencoder, images, device):
    if device == "mps":
        pytest.skip("MPS has no float64, in which the iterations alone and together are the same")
    network, images = tiny_autoencoder.double(), torch.cat([images, 0.1 * images]).double()
    z_sem, rows = network.encode(images), []
    network.decoder.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    together = exact(tolerance=1e-3).invert_with_report(images, network, z_sem)
    assert sum(rows) == together.evaluations.sum()
    assert min(rows) < len(images)
    assert together.evaluations.unique().numel() > 1
    for k in range(len(images)):
        alone = exact(tolerance=1e-3).invert_with_report(images[k : k + 1], network, z_sem[k : k + 1])
        assert alone.evaluations[0] == together.evaluations[k]
        torch.testing.assert_close(alone.x_T[0], together.x_T[k], rtol=0, atol=1e-8)


@pytest.mark.parametrize("max_evaluations", [10, 13, 25])
def test_no_image_gets_more_than_the_most_evaluations_and_a_missed_tolerance_is_warned_of(
    tiny_autoencoder, images, max_evaluations
):
    inferer = exact(tolerance=1e-7, max_evaluations=max_evaluations)
    z_sem = tiny_autoencoder.encode(images)
    with pytest.warns(UserWarning, match=rf"3 of 3 images stopped at .*Raise max_evaluations \({max_evaluations}\)"):
        found = inferer.invert_with_report(images, tiny_autoencoder, z_sem)
    assert (found.evaluations <= max_evaluations).all()
    assert (found.evaluations >= 10).all()
    assert (found.residual > 1e-7).all()


def test_more_evaluations_come_closer(tiny_autoencoder, images):
    z_sem, errors = tiny_autoencoder.encode(images), []
    for max_evaluations in (10, 20, 40):
        inferer = exact(tolerance=1e-7, max_evaluations=max_evaluations)
        with pytest.warns(UserWarning, match="stopped at a residual"):
            x_T = inferer.invert(images, tiny_autoencoder, z_sem)
        errors.append((inferer.decode(z_sem, x_T, tiny_autoencoder) - images).square().mean().sqrt())
    assert errors[1] < errors[0] / 2
    assert errors[2] < errors[1] / 2


def test_a_reached_tolerance_is_not_warned_of(tiny_autoencoder, images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact().invert(images, tiny_autoencoder, tiny_autoencoder.encode(images))


def test_ten_evaluations_a_step_are_the_most_unless_given():
    assert exact(20).max_evaluations == 200
    assert exact(20, max_evaluations=55).max_evaluations == 55


def test_bfloat16_networks_are_inverted_as_far_as_their_rounding_lets(tiny_autoencoder, images):
    inferer = exact(tolerance=2e-2, precision="bfloat16")
    z_sem = tiny_autoencoder.encode(images)
    found = inferer.invert_with_report(images, tiny_autoencoder, z_sem)
    assert found.x_T.dtype == torch.float32
    left = root_mean_square(inferer.decode(z_sem, found.x_T, tiny_autoencoder) - images)
    assert (left < 2e-2).all()


def test_a_tolerance_below_the_rounding_of_bfloat16_is_raised_with_a_warning():
    with pytest.warns(UserWarning, match=r"cannot be reached in bfloat16; 0.005 is used"):
        assert exact(tolerance=1e-3, precision="bfloat16").tolerance == 5e-3
    for precision in ("float32", "float16"):
        assert exact(tolerance=1e-3, precision=precision).tolerance == 1e-3


def test_float16_reaches_the_tolerance_that_is_the_default(tiny_autoencoder, images):
    inferer = exact(tolerance=1e-3, precision="float16")
    z_sem = inferer.encode(images, tiny_autoencoder)
    found = inferer.invert_with_report(images, tiny_autoencoder, z_sem)
    assert (found.residual <= 1e-3).all()
    left = root_mean_square(inferer.decode(z_sem, found.x_T, tiny_autoencoder) - images)
    assert (left < 2e-3).all()


def test_images_may_share_a_z_sem(tiny_autoencoder, images):
    z_sem = tiny_autoencoder.encode(images[:1])
    shared = exact().invert(images, tiny_autoencoder, z_sem)
    repeated = exact().invert(images, tiny_autoencoder, z_sem.repeat(3, 1))
    torch.testing.assert_close(shared, repeated)


# What is reported, and where


@pytest.mark.parametrize("inversion", ["explicit", "exact"])
def test_results_hold_the_evaluations_and_the_residual_of_each_image(tiny_autoencoder, images, inversion):
    inferer = DiffusionAutoencoderInferer(exact().scheduler, 10, inversion=inversion, verbose=False)
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8))
    directions = AttributeDirections(["bright"], torch.eye(8)[:1], torch.zeros(1), statistics)
    tasks = (ReconstructionInferer(inferer), ManipulationInferer(inferer, directions, Edit("bright", amount=0.3)))
    found = inferer.invert_with_report(images, tiny_autoencoder, tiny_autoencoder.encode(images))
    for task in tasks:
        result = task.predict(MetaTensor(images), tiny_autoencoder)
        assert result["x_T_evaluations"].tolist() == found.evaluations.tolist()
        torch.testing.assert_close(result["x_T_residual"], found.residual, equal_nan=True)
    assert bool(found.residual.isnan().all()) == (inversion == "explicit")
    assert bool((found.evaluations == 10).all()) == (inversion == "explicit")


@pytest.mark.parametrize("x_T", ["random", "zeros"])
def test_an_x_T_that_is_not_encoded_costs_nothing_and_is_not_checked(tiny_autoencoder, images, x_T):
    code = StochasticCode(x_T).with_report(images, tiny_autoencoder, tiny_autoencoder.encode(images), exact())
    assert isinstance(code, Inversion)
    assert code.evaluations.tolist() == [0, 0, 0]
    assert code.residual.isnan().all()


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.0}, "tolerance must be greater than 0, got 0.0"),
        ({"tolerance": math.nan}, "tolerance must be greater than 0, got nan"),
        ({"max_evaluations": 9}, "at least the number of steps, 10; got 9"),
        ({"num_inversion_steps": 20}, "num_inference_steps=10; got num_inversion_steps=20"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        exact(**options)


def test_clipping_has_no_inverse():
    scheduler = InvertibleDDIMScheduler(clip_sample=True)
    with pytest.raises(ValueError, match=r"clip_sample=True has not\. Take .*clip_sample=False, or inversion='expl"):
        DiffusionAutoencoderInferer(scheduler, 10, inversion="exact")
    DiffusionAutoencoderInferer(scheduler, 10, inversion="explicit")


# Equations that are hard to solve


def solve(function, guess: torch.Tensor, allowed: float = 1e-6, most: int = 40):
    def evaluate(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, function(x)

    count = len(guess)
    return _solve(guess, evaluate, torch.full((count,), allowed), torch.full((count,), most))


@pytest.mark.parametrize("slope", [0.05, 1.0, 3.0, 50.0])
def test_equations_on_which_the_plain_iteration_diverges_or_crawls_are_solved(slope):
    guess = torch.randn(4, 5)
    solution = solve(lambda x: slope * x + 0.3 * slope * torch.sin(x) - 1, guess)
    assert (solution.residual <= 1e-6).all()
    assert (solution.evaluations <= 40).all()


def test_a_steep_and_crooked_equation_is_solved_after_steps_back():
    sizes = []

    def function(x: torch.Tensor) -> torch.Tensor:
        residual = 4 * torch.atan(8 * x)  # Newton's and the plain iteration both leap away from 1
        sizes.append(float(residual.abs().max()))
        return residual

    solution = solve(function, torch.ones(1, 1))
    assert solution.residual[0] <= 1e-6
    assert max(sizes) > sizes[0]


def test_what_cannot_be_solved_ends_no_further_than_it_began():
    guess = torch.randn(3, 6)

    def function(x: torch.Tensor) -> torch.Tensor:
        return 2 + torch.sin(40 * x)

    solution = solve(function, guess, most=15)
    assert solution.evaluations.tolist() == [15, 15, 15]
    at_guess = root_mean_square(function(guess))
    assert (solution.residual <= at_guess).all()
    assert (root_mean_square(function(solution.x)) <= at_guess).all()


def test_numbers_that_overflow_are_left_again():
    solution = solve(lambda x: torch.where(x.abs() > 1.5, torch.nan, 6 * x), torch.ones(2, 3))
    assert solution.x.isfinite().all()
    assert (solution.residual <= 1e-6).all()
