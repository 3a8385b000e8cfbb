# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader
from monai.engines import SupervisedTrainer

from monai_diffae.training import GradientClippingHandler, GradientNormRecorder


class TwoParts(torch.nn.Module):
    """Gradients are the inputs: of the encoder x[0:2], of the decoder x[2]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Linear(2, 1)
        self.decoder = torch.nn.Linear(1, 1)
        self.encoder.bias.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.encoder(x[:, :2]) + self.decoder(x[:, 2:])


def recorded(inputs: list[list[float]], device: str, epoch_length: int, scaler=None, **options) -> list[float]:
    """The metric at the end of each epoch, of a run whose gradients are clipped to 1."""
    network = TwoParts().to(device)
    trainer = SupervisedTrainer(
        device=torch.device(device),
        max_epochs=len(inputs) // epoch_length,
        epoch_length=epoch_length,
        train_data_loader=DataLoader([{"image": torch.tensor(x), "label": 0} for x in inputs], batch_size=1),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        loss_function=lambda prediction, label: prediction.mean(),
        train_handlers=[GradientNormRecorder(network.encoder, name="norm"), GradientClippingHandler(1.0)],
        **options,
    )
    norms = []
    if scaler is not None:  # MONAI's own is made when the run starts, and works on CUDA only
        trainer.add_event_handler(Events.STARTED, lambda engine: setattr(engine, "scaler", scaler))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: norms.append(engine.state.metrics["norm"]))
    trainer.run()
    return norms


def test_the_norm_is_the_modules_own_before_clipping_averaged_over_each_epoch(device):
    inputs = [[3.0, 4.0, 100.0], [0.6, 0.8, 0.0], [0.0, 2.0, 7.0], [0.0, 4.0, 7.0]]
    assert recorded(inputs, device, epoch_length=2) == pytest.approx([3.0, 3.0])
    assert recorded(inputs, device, epoch_length=4) == pytest.approx([3.0])


def test_only_gradients_that_the_optimiser_uses_count(device):
    # (6, 0) and (0, 8) halved are accumulated to (3, 4); the last iteration is a step of its own, halved as well.
    inputs = [[6.0, 0.0, 1.0], [0.0, 8.0, 1.0], [0.0, 14.0, 1.0]]
    assert recorded(inputs, device, epoch_length=3, accumulation_steps=2) == pytest.approx([(5.0 + 7.0) / 2])


@pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.GradScaler", "ignore:CUDA is not available")
def test_the_norm_of_scaled_gradients_is_the_unscaled_one(device):
    scaler = torch.amp.GradScaler(torch.device(device).type, init_scale=1024.0)
    assert recorded([[3.0, 4.0, 1.0]], device, epoch_length=1, scaler=scaler, amp=True) == pytest.approx([5.0])


def test_the_norm_equals_the_one_computed_directly(tiny_autoencoder, device):
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).to(device)
    timesteps = torch.tensor([10, 600], device=device)
    optimizer = torch.optim.SGD(tiny_autoencoder.parameters(), lr=0.0)
    trainer = SupervisedTrainer(
        device=torch.device(device),
        max_epochs=1,
        train_data_loader=[{"image": images, "label": images}],
        network=tiny_autoencoder,
        optimizer=optimizer,
        loss_function=torch.nn.MSELoss(),
        inferer=lambda inputs, network: network(inputs, timesteps, image=inputs),
        train_handlers=[GradientNormRecorder(tiny_autoencoder.encoder)],
    )
    trainer.run()
    tiny_autoencoder.zero_grad()
    torch.nn.functional.mse_loss(tiny_autoencoder(images, timesteps, image=images), images).backward()
    direct = torch.cat([p.grad.flatten() for p in tiny_autoencoder.encoder.parameters()]).norm()
    assert trainer.state.metrics["encoder_grad_norm"] == pytest.approx(direct.item(), rel=1e-5)
