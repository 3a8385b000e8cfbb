# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.networks.nets import DenseNet121

from monai_diffae.metrics import PixelComponents, untrained_copy


def test_components_give_back_images_of_their_space():
    generator = torch.Generator().manual_seed(0)
    images = torch.einsum(
        "nk,kcxy->ncxy", torch.randn(20, 3, generator=generator), torch.randn(3, 1, 8, 8, generator=generator)
    )
    components = PixelComponents(images[:15], 3)
    torch.testing.assert_close(components.reconstruct(images[15:]), images[15:], rtol=0, atol=1e-5)
    assert components.encode(images).shape == (20, 3)
    # Coordinates along orthonormal axes keep distances.
    torch.testing.assert_close(torch.pdist(components.encode(images)), torch.pdist(images.flatten(1).double()))


def test_there_are_no_more_components_than_ways_in_which_images_differ():
    images = torch.rand(5, 1, 8, 8)
    components = PixelComponents(images, 64)
    assert components.num_components == 4
    assert float(components.encode(images).std(dim=0).min()) > 0.1  # none is rounding


def test_untrained_copy_is_new_and_seeded(tiny_autoencoder, device):
    images = torch.rand(2, 1, 16, 16, device=device)
    before = torch.random.get_rng_state()
    first, again, other = (untrained_copy(tiny_autoencoder.encoder, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.no_grad():
        codes = [network(images) for network in (tiny_autoencoder.encoder, first, again, other)]
    assert torch.equal(codes[1], codes[2])
    assert not codes[1].allclose(codes[0])
    assert not codes[1].allclose(codes[3])


def test_untrained_copy_takes_networks_of_monai():
    network = DenseNet121(spatial_dims=2, in_channels=1, out_channels=2)
    assert not torch.equal(untrained_copy(network, seed=1).class_layers.out.weight, network.class_layers.out.weight)


def test_weights_without_a_start_are_refused():
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))

    with pytest.raises(ValueError, match="new random weights"):
        untrained_copy(torch.nn.Sequential(Own()))
