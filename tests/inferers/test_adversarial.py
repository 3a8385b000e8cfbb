# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.networks.nets import PatchDiscriminator

from monai_diffae.inferers import DiffusionAutoencoderInferer, DiscriminatorInferer, PredictedImageInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler


def test_the_discriminator_is_called_without_noise_and_timesteps_and_gives_its_logits(device):
    discriminator = PatchDiscriminator(spatial_dims=2, in_channels=1, channels=4, num_layers_d=2).to(device).eval()
    images = torch.rand(2, 1, 32, 32, device=device)
    extras = {"noise": torch.randn_like(images), "timesteps": torch.tensor([1, 2], device=device)}
    with pytest.raises(TypeError, match="unexpected keyword"):
        discriminator(images, **extras)
    logits = DiscriminatorInferer()(images, discriminator, **extras)
    assert torch.equal(logits, discriminator(images)[-1])
    assert logits.shape == (2, 1, 6, 6)


def test_the_generators_result_is_the_image_that_its_prediction_stands_for(tiny_autoencoder, device):
    scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
    inferer = DiffusionAutoencoderInferer(scheduler)
    images, noise = (torch.rand(1, 1, 8, 8, device=device) for _ in range(2))
    timesteps = torch.tensor([400], device=device)
    with torch.no_grad():
        result = PredictedImageInferer(inferer)(images, tiny_autoencoder, noise, timesteps)
        prediction = inferer(images, tiny_autoencoder, noise, timesteps)
    _, expected = scheduler.step(prediction, 400, scheduler.add_noise(images, noise, timesteps))
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
