# SPDX-License-Identifier: Apache-2.0
"""Training steps on a pretended GPU: they copy their batch and wait for nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from pretend_gpu import PretendedGPU, on_pretended_gpu

from monai_diffae.inferers import DiffusionAutoencoderInferer, PredictedImageInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.training import (
    DiffusionTrainer,
    EMAWarmUp,
    ForeachEMAHandler,
    GradientClippingHandler,
    GradientNormRecorder,
    PredictedImageLoss,
    PredictedImagePrepareBatch,
    SampledDiffusionPrepareBatch,
)

BATCHES = [
    {
        "image": torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(k)) * 2 - 1,
        "noise": torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(9 + k)),
        "timesteps": torch.tensor([10 * k, 900]),
    }
    for k in range(3)
]


def trained(network: torch.nn.Module, device: str, batches: list, loss: str) -> torch.nn.Module:
    """The network after a step for each batch; its moving average comes along, as nothing may wait for that either."""
    scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
    inferer = DiffusionAutoencoderInferer(scheduler)
    noise_loss = loss == "of the noise"
    ema = ForeachEMAHandler(network, momentum=0.1)
    trainer = DiffusionTrainer(
        device=torch.device(device),
        max_epochs=1,
        train_data_loader=batches,
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-3, foreach=False),
        loss_function=torch.nn.MSELoss() if noise_loss else PredictedImageLoss(scheduler, reconstruction_weight=1.0),
        inferer=inferer if noise_loss else PredictedImageInferer(inferer),
        prepare_batch=(SampledDiffusionPrepareBatch if noise_loss else PredictedImagePrepareBatch)(scheduler),
        decollate=False,
        seed=3,
        train_handlers=[
            GradientNormRecorder(network.encoder),
            GradientClippingHandler(1.0),
            EMAWarmUp(0.9),
            ema,
        ],
    )
    trainer.run()
    return network


@pytest.mark.parametrize("loss", ["of the noise", "of the image"])
@on_pretended_gpu
def test_a_step_copies_its_batch_and_waits_for_nothing(gpu: PretendedGPU, tiny_autoencoder, loss):
    expected = trained(copy.deepcopy(tiny_autoencoder), "cpu", BATCHES, loss)
    counts = []
    for batches in (BATCHES[:1], BATCHES):
        network = gpu.move(copy.deepcopy(tiny_autoencoder))
        gpu.copies.clear()
        with gpu:
            trained(network, "gpu", batches, loss)
        counts.append((gpu.waits, gpu.copies_to_gpu))
    (waits, copies), (waits_of_three, copies_of_three) = counts
    assert waits_of_three == waits
    assert copies_of_three == copies + 2 * 3  # images, noise and timesteps of two more batches
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.held, expected.get_parameter(name).detach(), rtol=1e-3, atol=1e-4)
