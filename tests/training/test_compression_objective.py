# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from monai_diffae.networks import SeededAutoencoderKL
from monai_diffae.training import CompressionObjective, CompressionPrepareBatch


@pytest.fixture
def network(device) -> SeededAutoencoderKL:
    options = {"channels": (4, 8), "attention_levels": (False, False), "num_res_blocks": 1, "norm_num_groups": 4}
    return SeededAutoencoderKL(2, 1, 1, latent_channels=2, **options).to(device)


@pytest.fixture
def batch(device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 1, 8, 8, device=device), torch.randn(2, 2, 4, 4, device=device)


@pytest.mark.parametrize("kl_weight", [0.0, 0.5])
def test_loss_is_l1_plus_the_weighted_divergence_of_a_number_of_the_image(network, batch, kl_weight):
    images, noise = batch
    objective = CompressionObjective(kl_weight=kl_weight)
    reconstruction = objective(images, network, noise)
    loss = objective.loss(reconstruction, images)
    mean, sigma = network.encode(images)
    kl = kl_divergence(Normal(mean, sigma), Normal(0, 1)).sum() / images.numel()
    torch.testing.assert_close(loss, (reconstruction - images).abs().mean() + kl_weight * kl)


def test_reconstruction_is_of_the_sample_that_the_noise_makes(network, batch):
    images, noise = batch
    mean, sigma = network.encode(images)
    reconstruction = CompressionObjective()(images, network, noise)
    torch.testing.assert_close(reconstruction, network.decode(mean + sigma * noise))
    torch.testing.assert_close(network(images)[0], network.reconstruct(images))


def test_perceptual_loss_counts_only_where_it_is_given(network, batch):
    images, noise = batch
    losses = []
    for perceptual in (None, lambda fake, real: (fake - real).square()):
        objective = CompressionObjective(0, perceptual, perceptual_weight=2)
        losses.append(objective.loss(objective(images, network, noise), images))
    squared = (network(images, noise)[0] - images).square().mean()
    torch.testing.assert_close(losses[1] - losses[0], 2 * squared)


def test_loss_without_its_call_is_an_error(network, batch):
    images, noise = batch
    objective = CompressionObjective()
    objective.loss(objective(images, network, noise), images)
    with pytest.raises(RuntimeError, match="no posterior"):
        objective.loss(images, images)


@pytest.mark.parametrize("weights", [{"kl_weight": -1}, {"perceptual_weight": -1}])
def test_negative_weights_are_refused(weights):
    with pytest.raises(ValueError, match="0 or more"):
        CompressionObjective(**weights)


def test_batch_is_its_own_target(batch):
    images, noise = batch
    prepared = CompressionPrepareBatch()({"image": images, "noise": noise}, images.device)
    assert prepared[0] is prepared[1]
    torch.testing.assert_close(prepared[3]["noise"], noise)
    assert CompressionPrepareBatch()({"image": images}, images.device)[3] == {}
