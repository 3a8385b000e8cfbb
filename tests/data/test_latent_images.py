# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from conftest import randomize, tiny_autoencoder_kl

from monai_diffae.checkpoints import load_stage_1
from monai_diffae.data import LatentImages
from monai_diffae.networks import Compression, DiffAEUNet, DiffusionAutoencoder, LatentSpaceAutoencoder, SemanticEncoder


def network_of(seed: int = 0) -> LatentSpaceAutoencoder:
    common = {"spatial_dims": 2, "z_dim": 4, "channels": (4,), "attention_levels": (False,), "num_res_blocks": 1}
    decoder = DiffAEUNet(**common, in_channels=3, out_channels=3, norm_num_groups=4)
    autoencoder = DiffusionAutoencoder(SemanticEncoder(**common, in_channels=1, norm_num_groups=4), decoder)
    return LatentSpaceAutoencoder(Compression(randomize(tiny_autoencoder_kl(), seed)), autoencoder)


@pytest.fixture
def data() -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    return [{"image": torch.randn(1, 16, 16, generator=generator), "volume": k} for k in range(6)]


def test_items_have_the_latents_that_the_network_makes(data, tmp_path):
    network = network_of()
    images = LatentImages(data, network, tmp_path / "latents.pt", {"weights": "a"}, batch_size=4)
    assert len(images) == 6
    for index in (0, 5):
        expected = network.to_latent(data[index]["image"][None])[0]
        torch.testing.assert_close(images[index]["latent"], expected, rtol=1e-4, atol=1e-5)
        assert images[index]["volume"] == index
    assert float(torch.stack([item["latent"] for item in images]).std()) == pytest.approx(1, rel=1e-4)


def test_latents_are_computed_once_while_their_fingerprint_holds(data, tmp_path):
    first = LatentImages(data, network_of(), tmp_path / "latents.pt", {"weights": "a"})
    again = LatentImages(data, network_of(seed=3), tmp_path / "latents.pt", {"weights": "a"})
    torch.testing.assert_close(again.unscaled, first.unscaled, rtol=0, atol=0)  # read, not computed
    other = LatentImages(data, network_of(seed=3), tmp_path / "latents.pt", {"weights": "b"})
    assert not torch.allclose(other.unscaled, first.unscaled)


def test_latents_have_the_scale_of_weights_that_are_loaded_later(data, tmp_path):
    network, source = network_of(), network_of()
    images = LatentImages(data, network, tmp_path / "latents.pt")
    source.stage_1.scale_factor.fill_(5)
    copy.deepcopy(network).load_state_dict(source.state_dict())  # as of a moving average
    network.load_state_dict(source.state_dict())
    expected = network.to_latent(data[3]["image"][None])[0]
    torch.testing.assert_close(images[3]["latent"], expected, rtol=1e-4, atol=1e-4)


def test_latents_of_augmented_images_are_not_kept(data, tmp_path):
    with pytest.raises(ValueError, match="set cache_latents to false"):
        LatentImages(data, network_of(), tmp_path / "latents.pt", augmented=True)
    assert not list(tmp_path.iterdir())
    LatentImages(data, network_of(), None, augmented=True)


def test_augmented_images_have_no_latents_but_a_scale_factor(data):
    network = network_of()
    images = LatentImages(data, network, path=None)
    assert set(images[2]) == {"image", "volume"}
    latents = network.to_latent(torch.stack([item["image"] for item in data]))
    assert float(latents.std()) == pytest.approx(1, rel=1e-4)


def test_weights_of_the_compression_model_are_loaded_and_not_exchanged(tmp_path):
    source = network_of(seed=7)
    torch.save(source.stage_1.model.state_dict(), tmp_path / "stage_1.pt")
    network = load_stage_1(network_of(), tmp_path / "stage_1.pt")
    torch.testing.assert_close(network.stage_1.model.state_dict(), source.stage_1.model.state_dict(), rtol=0, atol=0)
    network.load_state_dict(source.state_dict())
    copy.deepcopy(network).load_state_dict(source.state_dict())  # as of a moving average
    for other in (network, copy.deepcopy(network)):
        with pytest.raises(ValueError, match=r"another compression model than .*stage_1\.pt"):
            other.load_state_dict(network_of().state_dict())


def test_missing_compression_model_is_told_how_to_make(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train one with train_autoencoder\.yaml"):
        load_stage_1(network_of(), tmp_path / "stage_1.pt")
