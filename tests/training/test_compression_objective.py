# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from conftest import tiny_autoencoder_kl
from monai.networks.nets import AutoencoderKL
from torch.distributions import Normal, kl_divergence

from monai_diffae.training import CompressionObjective, CompressionPrepareBatch


@pytest.fixture
def network(device) -> AutoencoderKL:
    return tiny_autoencoder_kl().to(device)


@pytest.fixture
def images(device) -> torch.Tensor:
    return torch.randn(2, 1, 8, 8, device=device)


@pytest.mark.parametrize("kl_weight", [0.0, 0.5])
def test_loss_is_l1_plus_the_weighted_divergence_of_a_number_of_the_image(network, images, kl_weight):
    objective = CompressionObjective(kl_weight=kl_weight)
    reconstruction = objective(images, network)
    loss = objective.loss(reconstruction, images)
    mean, sigma = network.encode(images)
    kl = kl_divergence(Normal(mean, sigma), Normal(0, 1)).sum() / images.numel()
    torch.testing.assert_close(loss, (reconstruction - images).abs().mean() + kl_weight * kl)


def test_perceptual_loss_counts_only_where_it_is_given(network, images):
    losses = []
    for perceptual in (None, lambda fake, real: (fake - real).square()):
        objective = CompressionObjective(0, perceptual, perceptual_weight=2)
        torch.manual_seed(1)
        reconstruction = objective(images, network)
        losses.append(objective.loss(reconstruction, images))
    torch.testing.assert_close(losses[1] - losses[0], 2 * (reconstruction - images).square().mean())


@pytest.mark.parametrize(("precision", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_network_computes_in_the_precision_and_losses_in_float32(network, images, precision, expected):
    computed = []
    network.encoder.blocks[0].register_forward_hook(lambda module, inputs, output: computed.append(output.dtype))
    objective = CompressionObjective(precision=precision)
    reconstruction = objective(images, network)
    assert computed == [expected]
    assert {reconstruction.dtype, objective.loss(reconstruction, images).dtype} == {torch.float32}


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision must be one of"):
        CompressionObjective(precision="float8")


def test_loss_without_its_call_is_an_error(network, images):
    objective = CompressionObjective()
    objective.loss(objective(images, network), images)
    with pytest.raises(RuntimeError, match="no posterior"):
        objective.loss(images, images)


@pytest.mark.parametrize("weights", [{"kl_weight": -1}, {"perceptual_weight": -1}])
def test_negative_weights_are_refused(weights):
    with pytest.raises(ValueError, match="0 or more"):
        CompressionObjective(**weights)


def test_batch_is_its_own_target(images):
    inputs, targets = CompressionPrepareBatch()({"image": images, "noise": images}, images.device)
    assert inputs is targets
    torch.testing.assert_close(inputs, images)
