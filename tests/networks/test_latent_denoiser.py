# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from monai.engines import DiffusionPrepareBatch, SupervisedTrainer
from monai.inferers import DiffusionInferer
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding

from monai_diffae.networks import LatentDenoiser
from monai_diffae.schedulers import InvertibleDDIMScheduler


def test_equals_the_formula(device):
    """Layer: Linear, times (1 + Linear(SiLU(t))), LayerNorm, SiLU; the input joins every layer but the first."""
    network = LatentDenoiser(z_dim=6, hidden_dim=10, num_layers=3, time_channels=8).to(device)
    x, t = torch.randn(5, 6, device=device), torch.arange(5, device=device) * 100
    embedding = network.time_embed(get_timestep_embedding(t, 8))
    h = x
    for i, layer in enumerate(network.layers):
        h = layer.linear(h if i == 0 else torch.cat([h, x], dim=1))
        h = h * (1 + layer.time_proj(F.silu(embedding)))
        h = F.silu(F.layer_norm(h, (10,), layer.norm.weight, layer.norm.bias))
    torch.testing.assert_close(network(x, t), network.out(torch.cat([h, x], dim=1)))


@pytest.mark.parametrize("num_layers", [2, 10])
def test_every_parameter_learns(num_layers, device):
    network = LatentDenoiser(z_dim=6, hidden_dim=16, num_layers=num_layers).to(device)
    network(torch.randn(4, 6, device=device), torch.tensor([7])).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_one_timestep_serves_the_batch_and_may_be_a_float(device):
    network = LatentDenoiser(z_dim=6, hidden_dim=16, num_layers=3).to(device)
    x = torch.randn(4, 6, device=device)
    expected = network(x, torch.full((4,), 30, device=device))
    torch.testing.assert_close(network(x, torch.tensor([30.0])), expected)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_acts_in_training_only(dropout, device):
    network = LatentDenoiser(z_dim=6, hidden_dim=64, num_layers=3, dropout=dropout).to(device)
    x, t = torch.randn(4, 6, device=device), torch.tensor([30], device=device)
    assert torch.equal(network(x, t), network(x, t)) == (dropout == 0)
    network.eval()
    assert torch.equal(network(x, t), network(x, t))


def test_monai_trains_and_samples_with_it(device):
    network = LatentDenoiser(z_dim=4, hidden_dim=32, num_layers=3).to(device)
    scheduler = InvertibleDDIMScheduler(num_train_timesteps=100, schedule="constant_beta", beta=0.05)
    inferer = DiffusionInferer(scheduler)
    trainer = SupervisedTrainer(
        device=torch.device(device),
        max_epochs=1,
        train_data_loader=[{"image": torch.randn(8, 4)}] * 3,
        network=network,
        optimizer=torch.optim.Adam(network.parameters()),
        loss_function=torch.nn.L1Loss(),
        inferer=inferer,
        prepare_batch=DiffusionPrepareBatch(num_train_timesteps=100),
    )
    before = network.out.weight.detach().clone()
    trainer.run()
    assert not torch.equal(network.out.weight, before)
    scheduler.set_timesteps(10)
    sample = inferer.sample(torch.randn(5, 4, device=device), network, scheduler, verbose=False)
    assert sample.shape == (5, 4)
    assert bool(sample.isfinite().all())


def test_wrong_input_is_refused():
    network = LatentDenoiser(z_dim=6, hidden_dim=16, num_layers=3)
    z, t = torch.zeros(2, 6), torch.zeros(2)
    with pytest.raises(ValueError, match=r"shape \(batch, 6\), got \[2, 5\]"):
        network(torch.zeros(2, 5), t)
    with pytest.raises(ValueError, match="timesteps"):
        network(z, torch.zeros(3))
    with pytest.raises(ValueError, match="context must be None"):
        network(z, t, context=z)
    with pytest.raises(ValueError, match="num_layers"):
        LatentDenoiser(z_dim=6, num_layers=1)
