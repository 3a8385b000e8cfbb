# SPDX-License-Identifier: Apache-2.0
"""Images larger than the network's: our inferers as the network call of MONAI's sliding ones, and slice by slice."""

from functools import partial

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SliceInferer, SlidingWindowInferer

from monai_diffae.inferers import (
    DiffusionAutoencoderInferer,
    ManipulationInferer,
    ReconstructionInferer,
    SlicewiseInferer,
)
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections, LatentStatistics


@pytest.fixture
def loops() -> DiffusionAutoencoderInferer:
    return DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), num_inference_steps=2, verbose=False)


@pytest.fixture
def inferers(loops) -> dict:
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8))
    directions = AttributeDirections(["lesion"], torch.eye(8)[:1], torch.zeros(1), statistics)
    return {
        "reconstruction": ReconstructionInferer(loops),
        "edit": ManipulationInferer(loops, directions, "lesion", 2.0),
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
