# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import torch

from monai_diffae.inferers import DiffusionAutoencoderInferer, ReconstructionInferer
from monai_diffae.networks import LatentDenoiser, compile_network
from monai_diffae.schedulers import InvertibleDDIMScheduler


def is_compiled(module: torch.nn.Module) -> bool:
    return module._compiled_call_impl is not None


@pytest.fixture
def images(device) -> torch.Tensor:
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)).to(device) * 2 - 1


def test_parts_of_an_autoencoder_are_compiled_names_and_copies_are_not_touched(tiny_autoencoder):
    names = list(tiny_autoencoder.state_dict())
    assert compile_network(tiny_autoencoder, "True", backend="eager") is tiny_autoencoder
    assert is_compiled(tiny_autoencoder.encoder)
    assert is_compiled(tiny_autoencoder.decoder)
    assert list(tiny_autoencoder.state_dict()) == names
    assert not is_compiled(copy.deepcopy(tiny_autoencoder).decoder)  # the moving average


def test_a_network_without_parts_is_compiled_as_a_whole():
    assert is_compiled(compile_network(LatentDenoiser(z_dim=8, hidden_dim=8, num_layers=2), backend="eager"))


@pytest.mark.parametrize("enabled", [False, "false", "False"])
def test_without_it_nothing_happens(tiny_autoencoder, enabled):
    compile_network(tiny_autoencoder, enabled)
    assert not any(is_compiled(module) for module in tiny_autoencoder.modules())


def test_another_word_is_refused(tiny_autoencoder):
    with pytest.raises(ValueError, match="true or false"):
        compile_network(tiny_autoencoder, "yes please")


def test_a_missing_compiler_is_named_with_what_to_install(tiny_autoencoder, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RuntimeError, match=r"no-such-compiler.*apt-get install g\+\+"):
        compile_network(tiny_autoencoder)
    assert not is_compiled(tiny_autoencoder.decoder)


@pytest.mark.parametrize("options", [{"backend": "aot_eager"}, pytest.param({}, marks=pytest.mark.slow)])
def test_a_compiled_network_reconstructs_and_trains_as_before(tiny_autoencoder, images, options):
    compiled = compile_network(copy.deepcopy(tiny_autoencoder), **options)
    scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
    inferer = ReconstructionInferer(DiffusionAutoencoderInferer(scheduler, num_inference_steps=3, verbose=False))
    torch.testing.assert_close(inferer(images, compiled), inferer(images, tiny_autoencoder), rtol=0, atol=1e-4)
    gradients = []
    for network in (compiled.train(), tiny_autoencoder.train()):
        timesteps = torch.tensor([5, 700], device=images.device)
        inferer.inferer(images, network, images.flip(0), timesteps).square().mean().backward()
        gradients.append(network.encoder.conv_in.weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)
