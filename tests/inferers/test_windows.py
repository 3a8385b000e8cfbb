# SPDX-License-Identifier: Apache-2.0
"""Images larger than the network's: our inferers as the network call of MONAI's sliding ones, and slice by slice."""

from functools import partial

import pytest
import torch
from conftest import randomize
from monai.data import MetaTensor
from monai.inferers import SliceInferer, SlidingWindowInferer

from monai_diffae.inferers import (
    DiffusionAutoencoderInferer,
    ManipulationInferer,
    ReconstructionInferer,
    SlicewiseInferer,
    WindowedInferer,
)
from monai_diffae.networks import DiffAEUNet, DiffusionAutoencoder, SemanticEncoder
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections, Edit, LatentStatistics


@pytest.fixture
def loops() -> DiffusionAutoencoderInferer:
    return DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), num_inference_steps=2, verbose=False)


@pytest.fixture
def inferers(loops) -> dict:
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8))
    directions = AttributeDirections(["lesion"], torch.eye(8)[:1], torch.zeros(1), statistics)
    return {
        "reconstruction": ReconstructionInferer(loops),
        "edit": ManipulationInferer(loops, directions, Edit("lesion", 2.0)),
    }


def random(*shape: int, device: str) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).clamp(-1, 1).to(device)


@pytest.mark.parametrize("kind", ["reconstruction", "edit"])
def test_sliding_windows_paste_together_what_the_inferer_makes_of_each(inferers, tiny_autoencoder, device, kind):
    image = random(1, 1, 16, 24, device=device)
    windows = SlidingWindowInferer(roi_size=(8, 8), sw_batch_size=2, overlap=0)
    result = windows(image, inferers[kind], tiny_autoencoder)
    for i in range(2):
        for j in range(3):
            place = (..., slice(8 * i, 8 * i + 8), slice(8 * j, 8 * j + 8))
            torch.testing.assert_close(
                result[place], inferers[kind](image[place], tiny_autoencoder), rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("kind", ["reconstruction", "edit"])
def test_slices_of_a_volume_are_those_of_the_inferer(inferers, tiny_autoencoder, device, kind):
    volume = MetaTensor(random(1, 1, 8, 8, 5, device=device), affine=torch.diag(torch.tensor([2.0, 2, 3, 1])))
    slices = SliceInferer(roi_size=(8, 8), spatial_dim=2, sw_batch_size=2)
    by_monai = slices(volume.as_tensor(), partial(inferers[kind], network=tiny_autoencoder))
    found = SlicewiseInferer(inferers[kind], batch_size=2)(volume, tiny_autoencoder)
    assert isinstance(found, MetaTensor)
    torch.testing.assert_close(found.affine, volume.affine)
    for k in range(5):
        expected = inferers[kind](volume.as_tensor()[..., k], tiny_autoencoder)
        for result in (by_monai, found.as_tensor()):
            torch.testing.assert_close(result[..., k], expected, rtol=1e-4, atol=1e-5)


def test_slicewise_inferer_hands_images_to_its_inferer(inferers, tiny_autoencoder, device):
    images = random(2, 1, 8, 8, device=device)
    slicewise = SlicewiseInferer(inferers["edit"])
    torch.testing.assert_close(slicewise(images, tiny_autoencoder), inferers["edit"](images, tiny_autoencoder))
    assert set(slicewise.predict(images, tiny_autoencoder)) == set(inferers["edit"].predict(images, tiny_autoencoder))


def test_slicewise_inferer_says_what_it_takes(inferers, tiny_autoencoder):
    with pytest.raises(ValueError, match=r"volumes \(B, C, X, Y, Z\), got \[1, 8, 8\]"):
        SlicewiseInferer(inferers["edit"])(torch.zeros(1, 8, 8), tiny_autoencoder)
    with pytest.raises(ValueError, match="batch_size must be 1 or more, got 0"):
        SlicewiseInferer(inferers["edit"], batch_size=0)


@pytest.fixture
def volume_autoencoder(device) -> DiffusionAutoencoder:
    torch.manual_seed(0)
    small = {"spatial_dims": 3, "in_channels": 1, "z_dim": 8, "channels": (4, 8), "num_res_blocks": 1}
    small |= {"attention_levels": (False, False), "norm_num_groups": 4}
    network = DiffusionAutoencoder(SemanticEncoder(**small), DiffAEUNet(**small, out_channels=1))
    return randomize(network).to(device).eval()


@pytest.mark.parametrize("kind", ["reconstruction", "edit"])
def test_windows_of_a_volume_are_pasted_in_three_dimensions(inferers, volume_autoencoder, device, kind):
    volume = random(1, 1, 8, 8, 16, device=device)
    result = SlidingWindowInferer(roi_size=(8, 8, 8), sw_batch_size=1, overlap=0)(
        volume, inferers[kind], volume_autoencoder
    )
    for half in (slice(0, 8), slice(8, 16)):
        expected = inferers[kind](volume[..., half], volume_autoencoder)
        torch.testing.assert_close(result[..., half], expected, rtol=1e-4, atol=1e-5)


def test_all_images_of_a_result_are_pasted_and_nothing_else(loops, inferers, tiny_autoencoder, device):
    images = MetaTensor(random(2, 1, 8, 16, device=device), affine=torch.diag(torch.tensor([2.0, 3, 4, 1])))
    series = ManipulationInferer(loops, inferers["edit"].attributes, Edit("lesion", [-2.0, 0.0, 2.0]))
    windows = SlidingWindowInferer(roi_size=(8, 8), sw_batch_size=3, overlap=0)
    results = WindowedInferer(series, windows).predict(images, tiny_autoencoder)
    assert set(results) == {"reconstruction", "edit", "difference"}
    assert results["reconstruction"].shape == (2, 1, 8, 16)
    assert results["edit"].shape == results["difference"].shape == (2, 3, 1, 8, 16)
    for half in (slice(0, 8), slice(8, 16)):
        expected = series.predict(images[..., half], tiny_autoencoder)
        for key, result in results.items():
            assert isinstance(result, MetaTensor)
            torch.testing.assert_close(result.affine, images.affine)
            torch.testing.assert_close(result.as_tensor()[..., half], expected[key].as_tensor(), rtol=1e-4, atol=1e-5)


def test_windows_that_overlap_meet_without_a_seam(loops, tiny_autoencoder, device):
    """The mean of two windows with codes of their own, weighted by a Gaussian."""
    images = random(1, 1, 8, 12, device=device)
    inferer = ReconstructionInferer(loops, x_T="zeros")
    windows = SlidingWindowInferer(roi_size=(8, 8), sw_batch_size=1, overlap=0.5, mode="gaussian")
    windowed = WindowedInferer(inferer, windows)
    result = windowed(images, tiny_autoencoder)
    torch.testing.assert_close(result, windowed.predict(images, tiny_autoencoder)["reconstruction"])
    first, second = (inferer(images[..., k : k + 8], tiny_autoencoder) for k in (0, 4))
    low = torch.minimum(first[..., 4:], second[..., :4]) - 1e-4
    high = torch.maximum(first[..., 4:], second[..., :4]) + 1e-4
    assert ((result[..., 4:8] >= low) & (result[..., 4:8] <= high)).all()
    torch.testing.assert_close(result[..., :4], first[..., :4], rtol=1e-4, atol=1e-5)


def test_an_inferer_without_images_cannot_be_windowed(tiny_autoencoder):
    class Encoding:
        def predict(self, inputs: torch.Tensor, network: torch.nn.Module) -> dict:
            return {"z_sem": network.encode(inputs)}

    windows = SlidingWindowInferer(roi_size=(8, 8))
    with pytest.raises(ValueError, match="Encoding gives no images of the size of a window"):
        WindowedInferer(Encoding(), windows).predict(torch.zeros(1, 1, 16, 16), tiny_autoencoder)
