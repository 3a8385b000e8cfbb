# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_diffae.inferers import NoiseLosses
from monai_diffae.inferers.stochastic_code import StochasticCode
from monai_diffae.schedulers import InvertibleDDIMScheduler


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_losses_are_those_of_the_training_with_the_seeded_noise(tiny_autoencoder, device, prediction_type):
    scheduler = InvertibleDDIMScheduler(prediction_type=prediction_type)
    images = torch.rand(2, 1, 16, 16, device=device) * 2 - 1
    losses = NoiseLosses(tiny_autoencoder, scheduler, seed=3, levels=(10, 90))
    with torch.no_grad():
        z_sem = tiny_autoencoder.encode(images)
        found = losses(images[1], z_sem[1])
        for level in (10, 90):
            timesteps = torch.tensor([level * 10], device=device)
            noise = StochasticCode("random", 3).draw(images[1:], level)
            x_t = scheduler.add_noise(images[1:], noise, timesteps)
            clean = {"epsilon": noise, "sample": images[1:]}
            target = clean.get(prediction_type, scheduler.get_velocity(images[1:], noise, timesteps))
            error = (tiny_autoencoder(x_t, timesteps, context=z_sem[1:]) - target).square().mean()
            assert found[f"noise_loss_{level}"] == pytest.approx(float(error), rel=1e-4)
    assert list(found) == ["noise_loss_10", "noise_loss_90"]
    assert losses(images[1], z_sem[1]) == found  # same seed, same digits
    assert NoiseLosses(tiny_autoencoder, scheduler, seed=4, levels=(10, 90))(images[1], z_sem[1]) != found


@pytest.mark.parametrize("levels", [(), (25, 100), (-1,)])
def test_levels_that_are_no_percents_are_refused(tiny_autoencoder, levels):
    with pytest.raises(ValueError, match="percents of the timesteps"):
        NoiseLosses(tiny_autoencoder, InvertibleDDIMScheduler(), levels=levels)
