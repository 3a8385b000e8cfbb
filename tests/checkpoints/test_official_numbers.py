# SPDX-License-Identifier: Apache-2.0
"""Equality with what the authors' code computed with a small network (tests/data/README.md)."""

import pytest
import torch
from conftest import OFFICIAL
from monai.inferers import DiffusionInferer

from monai_diffae.checkpoints import load_official_checkpoint
from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler


@pytest.fixture(scope="module")
def official(device):
    checkpoint = load_official_checkpoint(OFFICIAL / "last.ckpt")
    for module in (checkpoint.autoencoder, checkpoint.latent_denoiser, checkpoint.statistics):
        module.to(device).requires_grad_(False)
    return checkpoint


@pytest.fixture(scope="module")
def classifier(device):
    return load_official_checkpoint(OFFICIAL / "cls.ckpt").attributes.to(device)


def assert_near(result: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Largest error over the standard deviation of the expected tensor."""
    assert result.shape == expected.shape
    assert float((result - expected).abs().max() / expected.std()) < tolerance


def inferer(clip_sample: bool) -> DiffusionAutoencoderInferer:
    return DiffusionAutoencoderInferer(InvertibleDDIMScheduler(clip_sample=clip_sample), 10, verbose=False)


def test_z_sem_is_the_authors(official, golden):
    assert_near(official.autoencoder.encode(golden["x"]), golden["z_sem"], 3e-5)


def test_noised_images_are_the_authors(golden):
    x_t = InvertibleDDIMScheduler().add_noise(golden["x"], golden["noise"], golden["timesteps"])
    assert_near(x_t, golden["x_t"], 3e-5)


def test_predicted_noise_is_the_authors(official, golden):
    eps = official.autoencoder(golden["noise"], golden["timesteps"], context=golden["z_sem"])
    assert_near(eps, golden["eps"], 3e-5)


def test_grid_is_the_authors(golden):
    scheduler = InvertibleDDIMScheduler()
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.sort().values.tolist() == golden["ddim_timesteps"].sort().values.tolist()


@pytest.mark.parametrize("clip_sample", [True, False])
def test_stochastic_encoding_and_decoding_are_the_authors(official, golden, clip_sample):
    name = "clip" if clip_sample else "noclip"
    x_T = inferer(clip_sample).invert(golden["x"], official.autoencoder, golden["z_sem"])
    assert_near(x_T, golden[f"x_T_{name}"], 1e-3)
    reconstruction = inferer(clip_sample).decode(golden["z_sem"], x_T, official.autoencoder)
    assert_near(reconstruction, golden[f"recon_{name}"], 1e-3)


def test_decoding_of_random_x_T_is_the_authors(official, golden):
    decoded = inferer(True).decode(golden["z_sem"], golden["noise"], official.autoencoder)
    assert_near(decoded, golden["decode_random"], 1e-3)


def test_latent_prediction_is_the_authors(official, golden):
    eps = official.latent_denoiser(golden["latent_noise"], golden["timesteps"])
    assert_near(eps, golden["latent_eps"], 3e-5)


def test_unconditional_sample_by_monai_diffusion_inferer_is_the_authors(official, golden):
    scheduler = InvertibleDDIMScheduler(schedule="constant_beta", beta=0.008)
    scheduler.set_timesteps(10)
    sampled = DiffusionInferer(scheduler).sample(
        golden["latent_noise"], official.latent_denoiser, scheduler, verbose=False
    )
    assert_near(sampled, golden["latent_sample_normalised"], 1e-3)
    z_sem = official.statistics.denormalize(sampled)
    assert_near(z_sem, golden["latent_sample"], 1e-3)
    image = inferer(True).decode(z_sem, golden["noise"], official.autoencoder)
    assert_near(image, golden["unconditional_sample"], 1e-3)


def test_classifier_and_manipulation_are_the_authors(classifier, golden):
    assert_near(classifier.scores(golden["z_sem"]), golden["classifier_logits"], 3e-5)
    assert classifier.names[31] == "Smiling"
    moved = classifier.move(golden["z_sem"], "Smiling", 0.3)
    torch.testing.assert_close(moved, golden["manipulated_z_class31_scale0.3"], atol=1e-5, rtol=0)


def test_statistics_stand_in_all_three_files(official, classifier):
    latents = load_official_checkpoint(OFFICIAL / "latent.pkl")
    assert (latents.autoencoder, latents.latent_denoiser, latents.attributes) == (None, None, None)
    assert latents.left_out == ["conds"]
    for statistics in (latents.statistics, classifier.statistics):
        torch.testing.assert_close(statistics.mean.cpu(), official.statistics.mean.cpu())
