# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from monai_diffae.checkpoints import WeightsLoader
from monai_diffae.networks import DiffAEUNet, DiffusionAutoencoder, LatentDenoiser, SemanticEncoder
from monai_diffae.support.weight_differences import weight_differences
from monai_diffae.training import resume_training

SIZES = {"spatial_dims": 2, "in_channels": 1, "z_dim": 8, "channels": (8, 16), "num_res_blocks": 1}
SIZES |= {"attention_levels": (False, True), "norm_num_groups": 4}
MESSAGES = {
    "in_channels": (3, "network with in_channels 1, the configuration builds one with 3; set in_channels to 1$"),
    "z_dim": (6, "network with z_dim 8, the configuration builds one with 6; set z_dim to 8$"),
    "spatial_dims": (3, "a 2D network, the configuration builds a 3D one; set spatial_dims to 2"),
    "attention_levels": ((True, True), "parameters are missing .*set the network's channels, attention_levels"),
    "channels": ((16, 16), r"have another shape \(encoder.conv_in.weight has \[8, .*set the network's channels"),
    "num_res_blocks": (2, "parameters are missing .*num_res_blocks"),
}


def network(**sizes) -> DiffusionAutoencoder:
    sizes = SIZES | sizes
    return DiffusionAutoencoder(SemanticEncoder(**sizes), DiffAEUNet(**sizes, out_channels=sizes["in_channels"]))


@pytest.mark.parametrize("option", MESSAGES)
def test_the_option_that_differs_is_named(option):
    value, message = MESSAGES[option]
    given, built = network(), network(**{option: value})
    with pytest.raises(ValueError, match=message):
        raise ValueError(weight_differences(given.state_dict(), built.state_dict()))
    if option in ("in_channels", "z_dim"):
        with pytest.raises(ValueError, match=message):
            raise ValueError(weight_differences(given.encoder.state_dict(), built.encoder.state_dict()))


def test_several_differences_are_all_named():
    text = weight_differences(network().state_dict(), network(in_channels=3, z_dim=6, num_res_blocks=2).state_dict())
    for part in ("set in_channels to 1", "set z_dim to 8", "parameters are missing", "num_res_blocks"):
        assert part in text


def test_z_dim_of_a_latent_denoiser_is_named():
    given, built = (LatentDenoiser(z_dim=z, hidden_dim=16, num_layers=3) for z in (8, 6))
    assert "set z_dim to 8" in weight_differences(given.state_dict(), built.state_dict())


def test_weights_that_fit_have_no_differences_and_are_loaded(tmp_path):
    source, built = network(), network()
    assert weight_differences(source.state_dict(), built.state_dict()) == ""
    torch.save(source.state_dict(), tmp_path / "model.pt")
    loader, engine = loader_for(tmp_path, built)
    loader(engine)
    torch.testing.assert_close(built.state_dict(), source.state_dict(), rtol=0, atol=0)


def loader_for(folder, built) -> tuple[WeightsLoader, SimpleNamespace]:
    loader = WeightsLoader(str(folder / "model.pt"), {"model": built}, name="loader", map_location="cpu")
    return loader, SimpleNamespace(state=SimpleNamespace(max_epochs=1, epoch=0))


@pytest.mark.parametrize("nested", [False, True])
def test_a_run_with_weights_of_another_network_says_what_to_set(tmp_path, nested):
    state = network().state_dict()
    torch.save({"model": state} if nested else state, tmp_path / "model.pt")
    loader, engine = loader_for(tmp_path, network(in_channels=3))
    with pytest.raises(ValueError, match=r"weights in '.*model.pt' .* set in_channels to 1; or give other weights wit"):
        loader(engine)


def test_a_training_is_not_resumed_with_another_network(tmp_path):
    built = network(z_dim=6)
    before = {k: v.clone() for k, v in built.state_dict().items()}
    torch.save({"network": network().state_dict(), "trainer": {"iteration": 3}}, tmp_path / "checkpoint_3.pt")
    with pytest.raises(ValueError, match=r"checkpoint_3.pt' is of another network: .* set z_dim to 8; or start afresh"):
        resume_training(tmp_path, {"network": built}, SimpleNamespace())
    torch.testing.assert_close(built.state_dict(), before, rtol=0, atol=0)
