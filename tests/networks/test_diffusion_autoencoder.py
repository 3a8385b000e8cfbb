# SPDX-License-Identifier: Apache-2.0
import copy
import pickle

import pytest
import torch
from monai.inferers import DiffusionInferer
from torch import nn
from torch.testing import assert_close

from monai_diffae.networks import DiffusionAutoencoder
from monai_diffae.schedulers import InvertibleDDIMScheduler


@pytest.fixture
def batch(device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x_t, timesteps and the clean images."""
    return tuple(t.to(device) for t in (torch.randn(3, 1, 8, 8), torch.tensor([0, 500, 999]), torch.rand(3, 1, 8, 8)))


def test_encode_is_the_encoder(tiny_autoencoder, batch):
    image = batch[2]
    z_sem = tiny_autoencoder.encode(image)
    assert z_sem.shape == (3, 8)
    assert torch.equal(z_sem, tiny_autoencoder.encoder(image))


def test_forward_with_the_image_equals_forward_with_its_code_and_the_decoder(tiny_autoencoder, batch):
    x, timesteps, image = batch
    z_sem = tiny_autoencoder.encode(image)
    prediction = tiny_autoencoder(x, timesteps, image=image)
    assert prediction.any()
    assert torch.equal(prediction, tiny_autoencoder(x, timesteps, context=z_sem))
    assert torch.equal(prediction, tiny_autoencoder.decoder(x, timesteps, z_sem))


def test_one_forward_with_the_image_gives_every_parameter_a_gradient(tiny_autoencoder, batch):
    x, timesteps, image = batch
    (tiny_autoencoder(x, timesteps, image=image) - 1).square().sum().backward()
    for name, parameter in tiny_autoencoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("given", [(), ("context", "image")], ids=["neither", "both"])
def test_forward_takes_exactly_one_of_context_and_image(given, tiny_autoencoder, batch):
    x, timesteps, image = batch
    values = {"context": torch.zeros(3, 8, device=x.device), "image": image}
    with pytest.raises(ValueError, match=r"exactly one of context .* and image"):
        tiny_autoencoder(x, timesteps, **{name: values[name] for name in given})


def test_images_of_another_batch_are_an_error(tiny_autoencoder, batch):
    x, timesteps, image = batch
    with pytest.raises(ValueError, match=r"shape \(3, 8\), got \(2, 8\)"):
        tiny_autoencoder(x, timesteps, image=image[:2])


def test_any_encoder_and_decoder_with_the_signature_compose():
    class Decoder(nn.Module):
        def forward(self, x, timesteps, context):
            return x * timesteps[:, None] + context

    network = DiffusionAutoencoder(nn.Linear(2, 4, bias=False), Decoder())
    x, image = torch.ones(3, 4), torch.randn(3, 2)
    expected = torch.tensor([[1.0], [2.0], [3.0]]) + image @ network.encoder.weight.T
    assert_close(network(x, torch.tensor([1, 2, 3]), image=image), expected)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))], ids=["deepcopy", "pickle"]
)
def test_copy_gives_the_same_prediction_and_shares_no_parameter(copied, tiny_autoencoder, batch):
    x, timesteps, image = batch
    twin, prediction = copied(tiny_autoencoder), tiny_autoencoder(x, timesteps, image=image)
    assert torch.equal(twin(x, timesteps, image=image), prediction)
    nn.init.zeros_(twin.encoder.proj_out.weight)
    assert torch.equal(tiny_autoencoder(x, timesteps, image=image), prediction)


def test_bfloat16_autocast_stays_near_float32(tiny_autoencoder, batch, device):
    x, timesteps, image = batch
    with torch.no_grad():
        expected = tiny_autoencoder(x, timesteps, image=image)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            prediction = tiny_autoencoder(x, timesteps, image=image)
    assert_close(prediction.float(), expected, rtol=0, atol=0.05 * expected.abs().max().item())


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_diffusion_inferer_of_monai_samples_as_an_explicit_loop_does(spacing, tiny_autoencoder, batch):
    x_T, _, image = batch
    scheduler = InvertibleDDIMScheduler(timestep_spacing=spacing)
    scheduler.set_timesteps(5)
    z_sem = tiny_autoencoder.encode(image)
    sampled = DiffusionInferer(scheduler).sample(x_T, tiny_autoencoder, conditioning=z_sem, verbose=False)
    x = x_T
    with torch.no_grad():
        for t in scheduler.timesteps:
            x, _ = scheduler.step(tiny_autoencoder(x, torch.full((3,), int(t), device=x.device), z_sem), t, x)
    assert not torch.allclose(sampled, x_T)
    assert_close(sampled, x, rtol=1e-5, atol=1e-4)


def test_diffusion_inferer_of_monai_predicts_on_the_noised_image(tiny_autoencoder, batch):
    noise, timesteps, image = batch
    scheduler = InvertibleDDIMScheduler()
    z_sem = tiny_autoencoder.encode(image)
    prediction = DiffusionInferer(scheduler)(image, tiny_autoencoder, noise, timesteps, condition=z_sem)
    assert_close(prediction, tiny_autoencoder(scheduler.add_noise(image, noise, timesteps), timesteps, z_sem))
