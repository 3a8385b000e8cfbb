# SPDX-License-Identifier: Apache-2.0
"""Inference mode is used inside, and nobody has to know."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_diffae.inferers import DiffusionAutoencoderInferer, ReconstructionInferer, VariationInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler


@pytest.fixture
def loops() -> DiffusionAutoencoderInferer:
    scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
    return DiffusionAutoencoderInferer(scheduler, num_inference_steps=2, verbose=False)


@pytest.fixture
def images(device) -> torch.Tensor:
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)).to(device) * 2 - 1


def test_networks_run_in_inference_mode(tiny_autoencoder, images, loops):
    found = set()
    for part in (tiny_autoencoder.encoder, tiny_autoencoder.decoder):
        part.register_forward_hook(lambda *_: found.add(torch.is_inference_mode_enabled()))
    ReconstructionInferer(loops)(images, tiny_autoencoder)
    assert found == {True}


@pytest.mark.parametrize("kind", [ReconstructionInferer, VariationInferer])
def test_results_can_be_changed_in_place_and_trained_on(tiny_autoencoder, images, loops, kind):
    affine = torch.eye(4, dtype=torch.float64)
    result = kind(loops).predict(MetaTensor(images, affine=affine), tiny_autoencoder)
    weight = torch.ones(1, device=images.device, requires_grad=True)
    for key, value in result.items():
        assert not value.is_inference(), key
        if value.is_floating_point():
            value.mul_(2)  # what inference mode makes refuses this ...
            (value.nan_to_num() * weight).sum().backward()  # ... and this
        if isinstance(value, MetaTensor):
            value.affine.mul_(2)
    assert any(isinstance(value, MetaTensor) for value in result.values())


def test_codes_can_be_optimised(tiny_autoencoder, images, loops):
    z_sem = loops.encode(images, tiny_autoencoder).requires_grad_()
    x_T = loops.invert(images, tiny_autoencoder, z_sem)
    step, _ = loops.scheduler.step(
        tiny_autoencoder(x_T, loops.scheduler.timesteps[:1].to(x_T.device), context=z_sem),
        loops.scheduler.timesteps[0],
        x_T,
    )
    step.square().sum().backward()
    assert z_sem.grad.abs().sum() > 0


def test_inference_mode_of_the_caller_stays_on(tiny_autoencoder, images, loops):
    with torch.inference_mode():
        assert loops.encode(images, tiny_autoencoder).is_inference()
