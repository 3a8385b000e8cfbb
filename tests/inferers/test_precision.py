# SPDX-License-Identifier: Apache-2.0
"""The one id ``precision``: it reaches every network, and nothing but networks."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import DiffusionInferer

from monai_diffae.inferers import (
    DiffusionAutoencoderInferer,
    LatentSampler,
    MixedPrecisionInferer,
    ReconstructionInferer,
    SemanticGapInferer,
)
from monai_diffae.networks import LatentDenoiser
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import LatentStatistics
from monai_diffae.support.precision import mixed_precision, shared_casts

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SCHEDULER = InvertibleDDIMScheduler(prediction_type="v_prediction")


@pytest.fixture
def images(device) -> torch.Tensor:
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)).to(device) * 2 - 1


def types_of(*modules: torch.nn.Module) -> set[torch.dtype]:
    """Where the types of the modules' results are put as they are called."""
    found: set[torch.dtype] = set()
    for module in modules:
        module.register_forward_hook(lambda _, __, output: found.add(output.dtype))
    return found


@pytest.mark.parametrize("precision", TYPES)
def test_precision_reaches_encoder_and_decoder_and_results_have_the_type_of_the_images(
    tiny_autoencoder, images, precision
):
    found = types_of(tiny_autoencoder.encoder.conv_in, tiny_autoencoder.decoder.conv_in)
    loops = DiffusionAutoencoderInferer(SCHEDULER, num_inference_steps=2, precision=precision, verbose=False)
    result = ReconstructionInferer(loops).predict(images, tiny_autoencoder)
    assert found == {TYPES[precision]}
    assert result["z_sem"].dtype == result["reconstruction"].dtype == torch.float32


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_stays_near_float32_and_is_not_the_same(tiny_autoencoder, images, precision):
    z_sem, z_lower = (
        DiffusionAutoencoderInferer(SCHEDULER, precision=p).encode(images, tiny_autoencoder)
        for p in ("float32", precision)
    )
    error = float((z_lower - z_sem).norm() / z_sem.norm())
    assert 0 < error < 0.05


def test_unknown_precision_is_refused():
    for make in (
        lambda: DiffusionAutoencoderInferer(SCHEDULER, precision="half"),
        lambda: SemanticGapInferer(SCHEDULER, precision="half"),
        lambda: MixedPrecisionInferer(DiffusionInferer(SCHEDULER), "half"),
    ):
        with pytest.raises(ValueError, match="float16"):
            make()


def test_validation_of_z_sem_has_the_precision(tiny_autoencoder, images, device):
    found = types_of(tiny_autoencoder.encoder.conv_in)
    timesteps = torch.tensor([3, 700], device=device)
    result = SemanticGapInferer(SCHEDULER, "bfloat16")(images, tiny_autoencoder, images.flip(0), timesteps)
    assert found == {torch.bfloat16}
    assert {prediction.dtype for prediction in result.values()} == {torch.float32}


@pytest.mark.parametrize("precision", TYPES)
def test_latent_diffusion_is_trained_and_sampled_in_the_precision(precision, device):
    network = LatentDenoiser(z_dim=8, hidden_dim=16, num_layers=3).to(device)
    found = types_of(network.layers[0].linear)
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(1)).to(device)
    inferer = MixedPrecisionInferer(DiffusionInferer(SCHEDULER), precision)
    prediction = inferer(z, network, noise=z.flip(0), timesteps=torch.tensor([1, 2, 3, 4], device=device))
    prediction.square().mean().backward()
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8))
    sampler = LatentSampler(network, SCHEDULER, statistics, num_inference_steps=2, precision=precision)
    assert prediction.dtype == sampler([0, 1], device)["z_sem"].dtype == torch.float32
    assert found == {TYPES[precision]}


def test_weights_are_cast_once_in_a_loop_of_calls(device):
    """PyTorch keeps a cast weight as long as an autocast is open: a change in between is not seen."""
    layer, x = torch.nn.Linear(2, 2).to(device), torch.ones(1, 2, device=device)

    def outputs() -> list[torch.Tensor]:
        found = []
        for _ in range(2):
            with mixed_precision("bfloat16", x.device):
                found.append(layer(x))
            layer.weight.data.mul_(2)
        return found

    with torch.inference_mode():
        with shared_casts("bfloat16", x.device):
            first, second = outputs()
        assert torch.equal(first, second)
        first, second = outputs()
        assert not torch.equal(first, second)


def test_training_goes_on_inside_an_autocast_in_which_images_were_decoded(tiny_autoencoder, images):
    loops = DiffusionAutoencoderInferer(SCHEDULER, num_inference_steps=2, precision="bfloat16", verbose=False)
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        loops.decode(torch.zeros(2, 8, device=images.device), images, tiny_autoencoder)
        loss = tiny_autoencoder(images, torch.tensor([5], device=images.device), image=images).square().mean()
    loss.backward()
    assert tiny_autoencoder.decoder.conv_in.weight.grad.abs().sum() > 0
