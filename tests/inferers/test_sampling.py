# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
import torch.nn as nn
from ignite.engine import Events
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator

from monai_diffae.data import SampleIndices
from monai_diffae.inferers import (
    ConditionalLatentSampler,
    LatentSampler,
    SamplingInferer,
)
from monai_diffae.inferers.stochastic_code import StochasticCode
from monai_diffae.networks import LatentDenoiser
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections, AttributeSummary, LatentStatistics

Z_DIM = 8


class NormalDenoiser(nn.Module):
    """The best denoiser of standard normal codes, in closed form: E[eps | x_t] = sqrt(1 - alpha_bar) x_t."""

    def __init__(self, scheduler: InvertibleDDIMScheduler) -> None:
        super().__init__()
        self.alphas_cumprod = scheduler.alphas_cumprod

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        alpha_bar = self.alphas_cumprod.to(x.device)[timesteps.to(x.device).long()]
        return (1 - alpha_bar).sqrt().to(x)[:, None] * x


@pytest.fixture
def statistics() -> LatentStatistics:
    return LatentStatistics(torch.linspace(-2, 2, Z_DIM), torch.linspace(0.5, 3, Z_DIM))


@pytest.fixture
def latent_scheduler() -> InvertibleDDIMScheduler:
    return InvertibleDDIMScheduler(schedule="constant_beta", beta=0.008)


@pytest.fixture
def latent_sampler(latent_scheduler, statistics, device) -> LatentSampler:
    network = LatentDenoiser(z_dim=Z_DIM, hidden_dim=16, num_layers=3).eval().to(device)
    return LatentSampler(network, latent_scheduler, statistics, num_inference_steps=5, seed=3)


@pytest.fixture
def normal_sampler(latent_scheduler, statistics) -> LatentSampler:
    """Normal codes with the mean of ``statistics`` and its deviation, but for the factor :func:`contraction`."""
    return LatentSampler(NormalDenoiser(latent_scheduler), latent_scheduler, statistics, 100, seed=5)


def contraction(scheduler: InvertibleDDIMScheduler, steps: int = 100) -> float:
    """What DDIM steps leave of the deviation of normal codes: the product of the cosines of their angles."""
    scheduler.set_timesteps(steps)
    levels = torch.cat([torch.ones(1), scheduler.alphas_cumprod[scheduler.timesteps.flip(0)]])
    return torch.acos(levels.double().sqrt()).diff().cos().prod().item()


@pytest.mark.parametrize(("steps", "left"), [(20, 0.81), (100, 0.95), (500, 0.99)])
def test_ddim_contracts_normal_codes_as_much_as_the_docs_say(latent_scheduler, statistics, steps, left):
    assert contraction(latent_scheduler, steps) == pytest.approx(left, abs=0.006)
    sampler = LatentSampler(NormalDenoiser(latent_scheduler), latent_scheduler, statistics, steps)
    noise = torch.cat([sampler.noise(sampler.generator(k)) for k in range(50)])
    z_normalized = statistics.normalize(sampler(range(50))["z_sem"])
    assert (z_normalized.std() / noise.std()).item() == pytest.approx(left, abs=0.006)


def classifier(statistics: LatentStatistics, bias: float, slope: float = 2.0) -> AttributeDirections:
    """sigmoid(slope * first normalised coordinate + bias)."""
    weight = torch.zeros(1, Z_DIM)
    weight[0, 0] = slope
    return AttributeDirections(["bright"], weight, torch.tensor([bias]), statistics)


def test_latents_have_the_moments_of_the_distribution_that_the_denoiser_knows(
    normal_sampler, statistics, latent_scheduler
):
    left = contraction(latent_scheduler)
    assert 0.94 < left < 0.96
    z_normalized = statistics.normalize(normal_sampler(range(4000))["z_sem"]) / left
    torch.testing.assert_close(z_normalized.mean(dim=0), torch.zeros(Z_DIM), rtol=0, atol=0.07)
    torch.testing.assert_close(torch.cov(z_normalized.T), torch.eye(Z_DIM), rtol=0, atol=0.1)


def test_latents_are_the_denormalised_result_of_the_schedulers_steps(latent_sampler, statistics, device):
    z_sem = latent_sampler([7], device)["z_sem"]
    x = torch.randn(1, Z_DIM, generator=latent_sampler.generator(7)).to(device)
    scheduler = InvertibleDDIMScheduler(schedule="constant_beta", beta=0.008)
    scheduler.set_timesteps(5)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x, _ = scheduler.step(latent_sampler.network(x, t.reshape(1).to(device)), t, x)
    torch.testing.assert_close(z_sem, statistics.to(device).denormalize(x))


@pytest.mark.parametrize("x_T", ["random", "zeros"])
@pytest.mark.parametrize("conditional", [False, True])
def test_a_sample_depends_on_seed_and_number_and_not_on_its_batch(
    tiny_autoencoder, loops, latent_sampler, statistics, device, x_T, conditional
):
    if conditional:
        latent_sampler = ConditionalLatentSampler(latent_sampler, classifier(statistics, -1.0), "bright")
    inferer = SamplingInferer(loops, latent_sampler, (1, 8, 12), x_T, seed=3)
    numbers = torch.tensor([0, 5, 2, 1000], device=device)
    together = inferer.predict(numbers, tiny_autoencoder)
    assert together["sample"].shape == (4, 1, 8, 12)
    torch.manual_seed(99)
    for row, k in enumerate(numbers):
        alone = inferer.predict(k.reshape(1, 1), tiny_autoencoder)
        assert alone.keys() == together.keys()
        for key, value in alone.items():
            torch.testing.assert_close(value[0], together[key][row], rtol=1e-4, atol=1e-4)
    assert (together["sample"][0] - together["sample"][1]).abs().max() > 1e-3
    latents = latent_sampler.sampler if conditional else latent_sampler
    latents.seed = 4
    assert (inferer.predict(numbers, tiny_autoencoder)["z_sem"] - together["z_sem"]).abs().mean() > 0.1


def test_a_sample_is_its_z_sem_decoded_with_its_own_x_T(tiny_autoencoder, loops, latent_sampler, device):
    inferer = SamplingInferer(loops, latent_sampler, (1, 8, 12), seed=6)
    result = inferer.predict(torch.tensor([4, 9], device=device), tiny_autoencoder)
    template, code = torch.zeros(1, 1, 8, 12, device=device), StochasticCode("random", 6)
    x_T = torch.cat([code.draw(template, 4), code.draw(template, 9)])
    expected = loops.decode(latent_sampler([4, 9], device)["z_sem"], x_T, tiny_autoencoder)
    torch.testing.assert_close(result["sample"], expected, rtol=0, atol=1e-6)


def test_z_sem_and_x_T_are_drawn_from_different_numbers(latent_sampler):
    z_noise = latent_sampler.noise(latent_sampler.generator(2))
    x_T = StochasticCode("random", latent_sampler.seed).draw(torch.zeros(1, 1, 2, 4), 2)
    assert (z_noise.flatten() - x_T.flatten()).abs().min() > 1e-6


def test_evaluators_run_it_on_numbers_and_samples_get_their_file_names(tiny_autoencoder, loops, latent_sampler, device):
    inferer = SamplingInferer(loops, latent_sampler, (1, 8, 12))
    data = SampleIndices(3, "folder", ".nii.gz", first=2, spacing=(3, 3, 3))
    outputs = []
    evaluator = SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(data, batch_size=2),
        network=tiny_autoencoder,
        inferer=inferer,
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.extend(engine.state.output))
    evaluator.run()
    assert [output["pred"].meta["filename_or_obj"] for output in outputs] == [
        f"folder/00000{k}.nii.gz" for k in (2, 3, 4)
    ]
    assert all(output["pred"].affine.diagonal().tolist() == [3, 3, 3, 1] for output in outputs)
    plain = inferer(torch.tensor([3], device=device), tiny_autoencoder)
    assert not isinstance(plain, MetaTensor)
    torch.testing.assert_close(outputs[1]["pred"].as_tensor(), plain[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("inputs", [torch.tensor([0.0]), torch.zeros(2, 2, dtype=torch.int64)])
def test_inputs_that_are_no_numbers_of_samples_are_refused(tiny_autoencoder, loops, latent_sampler, inputs):
    with pytest.raises(ValueError, match="numbers of samples"):
        SamplingInferer(loops, latent_sampler, (1, 8, 12)).predict(inputs, tiny_autoencoder)


def test_x_T_of_an_image_is_refused(loops, latent_sampler):
    with pytest.raises(ValueError, match="'random' or 'zeros'"):
        SamplingInferer(loops, latent_sampler, (1, 8, 12), x_T="encode")


@pytest.mark.parametrize(("bias", "prior"), [(-1.0, 0.5), (-1.0, 0.2), (0.5, 0.5)])
def test_rate_and_mean_of_accepted_codes_are_those_of_rejection_sampling(
    normal_sampler, statistics, latent_scheduler, bias, prior
):
    """On normal codes and a linear classifier both are integrals over one coordinate."""
    count = 2000
    sampler = ConditionalLatentSampler(normal_sampler, classifier(statistics, bias), "bright", prior=prior)
    result = sampler(range(count))
    u = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    deviation = contraction(latent_scheduler)
    density = torch.exp(-((u / deviation) ** 2) / 2) / math.sqrt(2 * math.pi) / deviation
    accepted = torch.sigmoid(2.0 * u + bias + math.log(prior / (1 - prior)))
    rate = torch.trapezoid(density * accepted, u).item()
    mean = torch.trapezoid(density * accepted * u, u).item() / rate
    assert count / result["tries"].sum().item() == pytest.approx(rate, rel=0.08)  # four standard errors
    z_normalized = statistics.normalize(result["z_sem"])
    assert z_normalized[:, 0].mean().item() == pytest.approx(mean, abs=0.09)
    torch.testing.assert_close(z_normalized[:, 1:].mean(dim=0), torch.zeros(Z_DIM - 1), rtol=0, atol=0.1)
    torch.testing.assert_close(result["probability"], sampler.probability(result["z_sem"]))


def test_the_first_accepted_try_is_taken_whatever_the_size_of_the_batch(normal_sampler, statistics):
    sampler = ConditionalLatentSampler(normal_sampler, classifier(statistics, -3.0), "bright")
    many, one = sampler(range(200)), sampler([17])
    assert many["tries"][17] == one["tries"][0]
    torch.testing.assert_close(many["z_sem"][17], one["z_sem"][0], rtol=1e-4, atol=1e-4)
    k, j = 17, int(one["tries"]) - 1
    noise = normal_sampler.noise(normal_sampler.generator(k, j))
    torch.testing.assert_close(one["z_sem"], normal_sampler.denoise(noise), rtol=1e-4, atol=1e-4)
    assert many["tries"].max() > 5


@pytest.mark.parametrize("max_tries", [1, 300])
def test_a_class_that_is_never_accepted_is_an_error_and_no_endless_loop(normal_sampler, statistics, max_tries):
    sampler = ConditionalLatentSampler(normal_sampler, classifier(statistics, -60.0), "bright", max_tries)
    with pytest.raises(RuntimeError, match=f"None of {max_tries} latent samples was accepted as 'bright' for sample 8"):
        sampler([8, 9])


def test_a_certain_class_is_accepted_at_the_first_try(normal_sampler, statistics):
    sampler = ConditionalLatentSampler(normal_sampler, classifier(statistics, 60.0), "bright", max_tries=1)
    result = sampler([0, 1])
    assert result["tries"].tolist() == [1, 1]
    torch.testing.assert_close(result["z_sem"], normal_sampler([0, 1])["z_sem"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{"max_tries": 0}, {"prior": 0.0}, {"prior": 1.0}])
def test_numbers_out_of_range_are_refused(normal_sampler, statistics, options):
    with pytest.raises(ValueError, match="max_tries of 1 or more and prior in"):
        ConditionalLatentSampler(normal_sampler, classifier(statistics, 0.0), "bright", **options)


def test_codes_of_a_classifier_with_unlabelled_ones_are_accepted_by_their_corrected_probability(
    normal_sampler, statistics
):
    classified = classifier(statistics, 0.0)
    classified.summaries["bright"] = AttributeSummary(num_labels=60, num_positive=20, num_unlabelled=30)
    sampler = ConditionalLatentSampler(normal_sampler, classified, "bright", prior=0.2)
    z_sem = normal_sampler(range(50))["z_sem"]
    logits = classified.scores(z_sem)[:, 0]
    expected = classified.summary("bright").probability(logits, 0.2)
    torch.testing.assert_close(sampler.probability(z_sem), expected)
    assert (expected > torch.sigmoid(logits + math.log(0.25)) + 1e-3).any()


def test_a_class_of_values_is_refused(normal_sampler, statistics):
    values = classifier(statistics, 0.0)
    values.summaries["bright"] = AttributeSummary("continuous")
    with pytest.raises(ValueError, match="Expected a binary attribute"):
        ConditionalLatentSampler(normal_sampler, values, "bright")


def test_an_unknown_class_is_refused(normal_sampler, statistics):
    with pytest.raises(ValueError, match="Unknown attribute 'dark'"):
        ConditionalLatentSampler(normal_sampler, classifier(statistics, 0.0), "dark")
