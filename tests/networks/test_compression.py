# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from conftest import randomize, tiny_autoencoder_kl
from monai.networks.nets import VQVAE
from torch import nn

from monai_diffae.networks import Compression


def vqvae() -> VQVAE:
    torch.manual_seed(0)
    sizes = {"channels": (8, 8), "num_res_channels": 8, "num_res_layers": 1, "num_embeddings": 16, "embedding_dim": 5}
    sizes |= {"downsample_parameters": ((2, 4, 1, 1),) * 2, "upsample_parameters": ((2, 4, 1, 1, 0),) * 2}
    return VQVAE(2, 1, 1, **sizes)


@pytest.mark.parametrize(
    ("model", "shape", "expected"), [(tiny_autoencoder_kl, (24, 16), (3, 6, 4)), (vqvae, (8, 16), (5, 2, 4))]
)
def test_latents_are_smaller_and_come_back_as_large(model, shape, expected, device):
    compression = Compression(model()).to(device)
    images = torch.randn(2, 1, *shape, device=device)
    latents = compression.compress(images)
    assert latents.shape[1:] == expected == compression.latent_shape((1, *shape))
    assert compression.expand(latents).shape == images.shape


def test_latents_are_the_mean_of_the_posterior_and_the_same_in_every_call(device):
    model = tiny_autoencoder_kl().to(device)
    images = torch.randn(1, 1, 16, 16, device=device)
    compression = Compression(model)
    torch.testing.assert_close(compression.compress(images), model.encode(images)[0], rtol=0, atol=0)
    assert not torch.equal(model.encode_stage_2_inputs(images), model.encode_stage_2_inputs(images))


def test_scaled_latents_have_unit_variance_and_decode_to_the_same_image(device):
    compression = Compression(randomize(tiny_autoencoder_kl()).to(device)).to(device)
    images = torch.randn(8, 1, 16, 16, device=device)
    unscaled = compression.compress(images)
    before = compression.expand(unscaled)
    compression.fit_scale(unscaled)
    assert float(compression.compress(images).std()) == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(compression.expand(compression.compress(images)), before, rtol=1e-4, atol=1e-5)


def test_scale_factor_is_kept_with_the_weights():
    compression = Compression(tiny_autoencoder_kl())
    compression.fit_scale(torch.tensor([[1.0, 3.0]]))
    other = Compression(tiny_autoencoder_kl())
    other.load_state_dict(compression.state_dict())
    assert float(other.scale_factor) == pytest.approx(1 / 2**0.5)


@pytest.mark.parametrize("latents", [torch.ones(4, 3), torch.tensor([1.0, float("nan")])])
def test_scale_of_latents_that_do_not_vary_is_refused(latents):
    with pytest.raises(ValueError, match="train the compression model first"):
        Compression(tiny_autoencoder_kl()).fit_scale(latents)


def test_it_is_frozen_and_stays_in_evaluation_mode():
    compression = Compression(tiny_autoencoder_kl())
    nn.Sequential(compression).train()
    assert not any(module.training for module in compression.modules())
    assert not any(parameter.requires_grad for parameter in compression.parameters())


def test_sides_that_the_factor_does_not_divide_are_refused_and_told_what_to_pad_to():
    compression = Compression(tiny_autoencoder_kl(spatial_dims=3))
    with pytest.raises(ValueError, match=r"got sides \[43, 59, 47\]; pad the images to \[44, 60, 48\]"):
        compression.compress(torch.zeros(1, 1, 43, 59, 47))


def test_reconstruction_of_any_size_keeps_the_size():
    compression = Compression(randomize(tiny_autoencoder_kl()))
    images = torch.randn(1, 1, 13, 18)
    assert compression.reconstruct(images).shape == images.shape
    whole = torch.randn(1, 1, 16, 12)
    torch.testing.assert_close(compression.reconstruct(whole), compression.expand(compression.compress(whole)))


@pytest.mark.parametrize("shape", [(1, 2, 16, 16), (1, 1, 16, 16, 16)])
def test_images_of_other_channels_or_dimensions_are_refused(shape):
    with pytest.raises(ValueError, match=r"takes images \(batch, 1, and 2 spatial sizes\)"):
        Compression(tiny_autoencoder_kl()).compress(torch.zeros(shape))


def without_norms(model: nn.Module) -> nn.Module:
    """Their statistics are those of a window, which no blending of windows can mend."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    return model


def test_windows_are_close_to_the_whole_and_no_larger_than_asked(device):
    model = without_norms(randomize(tiny_autoencoder_kl(), scale=0.02)).to(device)
    compression, whole = (Compression(model, roi, overlap=0.5).to(device) for roi in (64, None))
    images = torch.randn(1, 1, 128, 96, generator=torch.Generator().manual_seed(0)).to(device)
    seen = []
    model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[2:]))
    latents = compression.compress(images)
    assert set(seen) == {(64, 64)}
    for windowed, expected in (
        (latents, whole.compress(images)),
        (compression.expand(latents), whole.expand(latents)),
    ):
        assert windowed.shape == expected.shape
        assert float((windowed - expected).std() / expected.std()) < 0.2


def test_images_within_a_window_are_taken_whole(device):
    model = randomize(tiny_autoencoder_kl()).to(device)
    images = torch.randn(1, 1, 16, 16, device=device)
    windowed, whole = Compression(model, roi_size=[16, 32]).to(device), Compression(model).to(device)
    torch.testing.assert_close(windowed.compress(images), whole.compress(images), rtol=0, atol=0)


@pytest.mark.parametrize("roi_size", [30, [32], [32, 0]])
def test_windows_that_the_factor_does_not_divide_are_refused(roi_size):
    with pytest.raises(ValueError, match="multiples of 4"):
        Compression(tiny_autoencoder_kl(), roi_size=roi_size)


def test_another_model_is_refused():
    with pytest.raises(ValueError, match="AutoencoderKL or VQVAE, got Linear"):
        Compression(nn.Linear(2, 2))
