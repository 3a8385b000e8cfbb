# SPDX-License-Identifier: Apache-2.0
"""The network that ours is measured against computes what the authors' does (tests/data/README.md)."""

import pytest
import torch
from conftest import OFFICIAL
from speed.plain_network import PlainAutoencoder, plain_copy

from monai_diffae.checkpoints import load_official_checkpoint


@pytest.fixture(scope="module")
def pair(device):
    """Our network with the authors' weights, and the plain one with those of ours."""
    checkpoint = load_official_checkpoint(OFFICIAL / "last.ckpt")
    ours = checkpoint.autoencoder.to(device).requires_grad_(False)
    parts = checkpoint.config["network_def"]
    settings = [{k: v for k, v in parts[name].items() if k != "_target_"} for name in ("encoder", "decoder")]
    return ours, plain_copy(ours, *settings).requires_grad_(False)


def error(result: torch.Tensor, expected: torch.Tensor) -> float:
    assert result.shape == expected.shape
    return float((result - expected).abs().max() / expected.std())


def test_plain_network_gives_the_numbers_of_the_authors_code(pair, golden):
    _, plain = pair
    assert error(plain.encode(golden["x"]), golden["z_sem"]) < 3e-5
    assert error(plain(golden["noise"], golden["timesteps"], context=golden["z_sem"]), golden["eps"]) < 3e-5


def test_plain_network_and_ours_agree_to_1e_5(pair, golden):
    ours, plain = pair
    assert error(plain.encode(golden["x"]), ours.encode(golden["x"])) < 1e-5
    x, t = golden["noise"], golden["timesteps"]
    assert error(plain(x, t, image=golden["x"]), ours(x, t, image=golden["x"])) < 1e-5
    one = torch.tensor([300], device=x.device)  # a timestep for all
    assert error(plain(x, one, context=golden["z_sem"]), ours(x, one, context=golden["z_sem"])) < 1e-5


def test_gradients_of_both_are_the_same(pair, golden):
    gradients = []
    for network in pair:
        image = golden["x"].clone().requires_grad_(True)
        network(golden["noise"], golden["timesteps"], image=image).square().mean().backward()
        gradients.append(image.grad)
    assert error(gradients[1], gradients[0]) < 1e-4


def test_networks_that_the_authors_do_not_have_are_refused():
    part = {"spatial_dims": 2, "patch_size": 2}
    with pytest.raises(ValueError, match="patch_size must be 1"):
        PlainAutoencoder(part, part)
