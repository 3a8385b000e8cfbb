# SPDX-License-Identifier: Apache-2.0
"""Every inferer on a network that works on latents, as it works on pixels."""

import pytest
import torch
from conftest import LATENT_SPACE_SHAPES as SHAPES
from conftest import randomize, tiny_latent_space_autoencoder

from monai_diffae.inferers import (
    DiffusionAutoencoderInferer,
    InterpolationInferer,
    LatentSampler,
    ManipulationInferer,
    ReconstructionInferer,
    SamplingInferer,
    SemanticGapInferer,
    SwapInferer,
    VariationInferer,
)
from monai_diffae.networks import (
    LatentDenoiser,
    LatentSpaceAutoencoder,
)
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections, LatentStatistics


@pytest.fixture(scope="module", params=[(2, "image"), (3, "image"), (2, "latent")], ids=str)
def network(request) -> LatentSpaceAutoencoder:
    return tiny_latent_space_autoencoder(*request.param).to(request.config.getoption("--device"))


@pytest.fixture
def images(network, device) -> torch.Tensor:
    shape = SHAPES[network.stage_1.spatial_dims]
    return torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(1)).clamp(-1, 1).to(device)


@pytest.fixture
def loops() -> DiffusionAutoencoderInferer:
    return DiffusionAutoencoderInferer(
        InvertibleDDIMScheduler(prediction_type="v_prediction"), 8, inversion="exact", tolerance=1e-4, verbose=False
    )


def test_round_trip_is_exact_in_the_latent_space(network, images, loops):
    result = ReconstructionInferer(loops).predict(images, network)
    latent = network.to_latent(images)
    z_sem = network.encode(images)
    x_T = loops.invert(images, network, z_sem)
    assert x_T.shape == latent.shape
    x = x_T
    loops.scheduler.set_timesteps(8)
    for t in loops.scheduler.timesteps:
        with torch.no_grad():
            prediction = network(x, t.reshape(1).to(x.device), context=z_sem)
        x, _ = loops.scheduler.step(prediction, t, x)
    error = (x - latent).square().mean().sqrt() / (latent.max() - latent.min())
    assert float(-20 * error.log10()) > 60
    # What is left of the image is what compression leaves of it.
    torch.testing.assert_close(result["reconstruction"], network.stage_1.reconstruct(images), rtol=0, atol=5e-3)


def test_training_call_is_the_same_with_latents_known_from_before(network, images, loops):
    latent = network.to_latent(images)
    noise, timesteps = torch.randn_like(latent), torch.tensor([10, 900], device=images.device)
    prediction = loops(images, network, noise, timesteps)
    assert prediction.shape == latent.shape
    torch.testing.assert_close(loops(images, network, noise, timesteps, latent=latent), prediction)
    with torch.no_grad():
        wrong = loops(images, network, noise, timesteps, latent=latent + 1)
    assert not torch.allclose(wrong, prediction)
    gap = SemanticGapInferer(loops.scheduler)(images, network, noise, timesteps, latent=latent)
    torch.testing.assert_close(gap["prediction"], prediction.detach())


def test_only_the_diffusion_autoencoder_learns(network, images, loops):
    latent = network.to_latent(images)
    loops(images, network, torch.randn_like(latent), torch.tensor([10, 900], device=images.device)).sum().backward()
    learned = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert learned == {"encoder", "decoder"}


@pytest.mark.parametrize("x_T", ["random", "zeros", "encode"])
def test_interpolation_has_the_reconstructions_at_its_ends(network, images, loops, x_T):
    first, last = images[:1], images[1:]
    line = InterpolationInferer(loops, num_points=3, x_T=x_T).predict(first, network, last)["interpolation"]
    ends = ReconstructionInferer(loops, x_T=x_T)(images, network)
    torch.testing.assert_close(line[0, [0, -1]], ends, rtol=0, atol=1e-2)


def test_edits_swaps_and_variations_are_images(network, images, loops):
    labels = torch.arange(20) % 2
    attributes = AttributeDirections.fit(torch.randn(20, 8) + labels[:, None], {"a": labels})
    edit = ManipulationInferer(loops, attributes, "a", amount=0.5, max_aims=1).predict(images, network)
    assert edit["edit"].shape == edit["reconstruction"].shape == images.shape
    swap = SwapInferer(loops).predict(images[:1], network, images[1:])
    assert swap["swap"].shape == images[:1].shape
    assert swap["x_T"].shape[1:] == network.latent_shape(images.shape[1:])
    assert VariationInferer(loops, 2)(images, network).shape == (2, 2, *images.shape[1:])


@pytest.mark.parametrize("x_T", ["random", "zeros"])
def test_samples_are_images(network, images, loops, x_T, device):
    denoiser = LatentDenoiser(z_dim=8, hidden_dim=8, num_layers=2).to(device)
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8))
    sampler = LatentSampler(denoiser, InvertibleDDIMScheduler(schedule="constant_beta"), statistics, 2)
    samples = SamplingInferer(loops, sampler, images.shape[1:], x_T=x_T)
    both = samples(torch.tensor([3, 5], device=device), network)
    assert both.shape == images.shape
    torch.testing.assert_close(samples(torch.tensor([5], device=device), network), both[1:], rtol=1e-4, atol=1e-4)


def test_batches_give_the_same(network, images, loops):
    small = DiffusionAutoencoderInferer(
        InvertibleDDIMScheduler(prediction_type="v_prediction"),
        8,
        inversion="exact",
        tolerance=1e-4,
        verbose=False,
        batch_size=1,
    )
    torch.testing.assert_close(
        ReconstructionInferer(small)(images, network), ReconstructionInferer(loops)(images, network), rtol=0, atol=1e-3
    )


def test_decoder_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="decoder has in_channels=1 and spatial_dims=2, but sees latents of 3"):
        tiny_latent_space_autoencoder(2, in_channels=1)


def test_unknown_encoder_input_is_refused():
    with pytest.raises(ValueError, match="encoder_input must be 'image' or 'latent'"):
        LatentSpaceAutoencoder(tiny_latent_space_autoencoder(2).stage_1, tiny_latent_space_autoencoder(2), "pixels")


def test_weights_hold_the_compression_model_too():
    network, other = tiny_latent_space_autoencoder(2), tiny_latent_space_autoencoder(2)
    randomize(other, seed=5)
    other.stage_1.scale_factor.fill_(7)
    other.load_state_dict(network.state_dict())
    images = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(other.to_latent(images), network.to_latent(images), rtol=0, atol=0)
