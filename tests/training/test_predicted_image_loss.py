# SPDX-License-Identifier: Apache-2.0
"""The noise loss through the predicted x_0 is the noise loss."""

from __future__ import annotations

import pytest
import torch

from monai_diffae.inferers import DiffusionAutoencoderInferer, PredictedImageInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler, noise_loss_weight, predicted_image
from monai_diffae.training import PredictedImageLoss, PredictedImagePrepareBatch, SampledDiffusionPrepareBatch

TYPES = ("epsilon", "sample", "v_prediction")


def make_batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, noise = torch.rand(6, 1, 8, 8, generator=generator) * 2 - 1, torch.randn(6, 1, 8, 8, generator=generator)
    return {"image": image, "noise": noise, "timesteps": torch.tensor([0, 1, 250, 500, 900, 999])}


def gradients(network, loss: torch.Tensor) -> torch.Tensor:
    network.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in network.parameters()])


def losses(network, scheduler, device: str, reconstruction_weight: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of train.yaml and that of train_adversarial.yaml, for one batch."""
    inferer = DiffusionAutoencoderInferer(scheduler)
    images, target, _, extras = SampledDiffusionPrepareBatch(scheduler)(make_batch(), device)
    plain = torch.nn.functional.mse_loss(inferer(images, network, **extras), target)
    images, target, _, extras = PredictedImagePrepareBatch(scheduler)(make_batch(), device)
    prediction = PredictedImageInferer(inferer)(images, network, **extras)
    return plain, PredictedImageLoss(scheduler, reconstruction_weight)(prediction, target)


@pytest.mark.parametrize("prediction_type", TYPES)
@pytest.mark.parametrize("clip_sample", [False, True])
def test_without_the_l1_loss_value_and_gradient_are_those_of_the_noise_loss(
    tiny_autoencoder, device, prediction_type, clip_sample
):
    scheduler = InvertibleDDIMScheduler(prediction_type=prediction_type, clip_sample=clip_sample)
    plain, written_in_x_0 = losses(tiny_autoencoder, scheduler, device, reconstruction_weight=0.0)
    torch.testing.assert_close(written_in_x_0, plain, rtol=1e-4, atol=0)
    expected = gradients(tiny_autoencoder, plain)
    _, written_in_x_0 = losses(tiny_autoencoder, scheduler, device, reconstruction_weight=0.0)
    actual = gradients(tiny_autoencoder, written_in_x_0)
    assert (actual - expected).norm() < 1e-4 * expected.norm()


def test_the_l1_loss_is_added_with_its_weight(tiny_autoencoder, device):
    scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
    plain, _ = losses(tiny_autoencoder, scheduler, device, reconstruction_weight=0.0)
    _, both = losses(tiny_autoencoder, scheduler, device, reconstruction_weight=3.0)
    images, _, _, extras = PredictedImagePrepareBatch(scheduler)(make_batch(), device)
    prediction = PredictedImageInferer(DiffusionAutoencoderInferer(scheduler))(images, tiny_autoencoder, **extras)
    torch.testing.assert_close(both - plain, 3 * torch.nn.functional.l1_loss(prediction, images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prediction_type", TYPES)
def test_a_perfect_prediction_gives_the_image(device, prediction_type):
    scheduler = InvertibleDDIMScheduler(prediction_type=prediction_type)
    images, target, _, extras = SampledDiffusionPrepareBatch(scheduler)(make_batch(), device)
    noised = scheduler.add_noise(images, **extras)
    # float32 noise at t = 999 is amplified 158 times
    found = predicted_image(scheduler, target, noised, extras["timesteps"])
    torch.testing.assert_close(found, images, rtol=0, atol=1e-4)
    assert predicted_image(scheduler, target + 1, noised, extras["timesteps"]).sub(images).abs().amax() > 0.9


def test_weights_are_the_derived_ones():
    for prediction_type, weight in (
        ("epsilon", lambda ab: ab / (1 - ab)),
        ("v_prediction", lambda ab: 1 / (1 - ab)),
        ("sample", torch.ones_like),
    ):
        scheduler = InvertibleDDIMScheduler(prediction_type=prediction_type)
        timesteps = torch.tensor([0, 400, 999])
        expected = weight(scheduler.alphas_cumprod[timesteps])
        torch.testing.assert_close(noise_loss_weight(scheduler, timesteps), expected)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="reconstruction_weight must be at least 0, got -1"):
        PredictedImageLoss(InvertibleDDIMScheduler(), reconstruction_weight=-1)
