# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, ScaleIntensityRange, ScaleIntensityRangePercentiles

from monai_diffae.data import RescaleIntensityd


@pytest.fixture
def image() -> MetaTensor:
    return MetaTensor(torch.randn(1, 6, 5, 4, generator=torch.Generator().manual_seed(0)) * 300 + 100)


def test_percentiles_and_a_window_scale_as_monai_does(image):
    by_percentiles = RescaleIntensityd("image", percentiles=[5, 99])({"image": image})["image"]
    by_window = RescaleIntensityd("image", window=[-160, 240])({"image": image})["image"]
    torch.testing.assert_close(by_percentiles, ScaleIntensityRangePercentiles(5, 99, -1, 1, clip=True)(image))
    torch.testing.assert_close(by_window, ScaleIntensityRange(-160, 240, -1, 1, clip=True)(image))
    assert float(by_window.min()) == -1
    assert float(by_window.max()) == 1


@pytest.mark.parametrize(
    ("settings", "low", "high"), [({"window": [-160, 240]}, -160, 240), ({"percentiles": [0, 100]}, -1e9, 1e9)]
)
def test_the_inverse_gives_back_the_intensities_inside_the_range(image, settings, low, high):
    transforms = Compose([RescaleIntensityd("image", **settings), Flipd("image", 0)])
    scaled = transforms({"image": image})
    assert float(scaled["image"].abs().max()) <= 1
    back = transforms.inverse(scaled)["image"]
    torch.testing.assert_close(back, image.clamp(low, high), rtol=1e-5, atol=1e-3)
    assert back.applied_operations == []


def test_values_outside_are_clipped_on_the_way_back(image):
    transform = RescaleIntensityd("image", window=[0, 10])
    scaled = transform({"image": image})
    scaled["image"] = MetaTensor(torch.full_like(scaled["image"], 7.0)).copy_meta_from(scaled["image"])
    assert torch.all(transform.inverse(scaled)["image"] == 10)


def test_an_image_of_one_value_becomes_black_and_comes_back():
    transform = RescaleIntensityd("image", percentiles=[0, 99.8])
    scaled = transform({"image": MetaTensor(torch.full((1, 3, 3), 42.0))})
    assert torch.all(scaled["image"] == -1)
    assert torch.all(transform.inverse(scaled)["image"] == 42)


def test_plain_tensors_and_missing_keys_pass():
    transform = RescaleIntensityd(["image", "other"], window=[0, 1], allow_missing_keys=True)
    scaled = transform({"image": torch.rand(1, 4, 4)})
    assert set(scaled) == {"image"}
    assert not isinstance(scaled["image"], MetaTensor)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"percentiles": [5]}, "percentiles must be two numbers in rising order"),
        ({"percentiles": [5, 5]}, "percentiles must be two numbers in rising order"),
        ({"percentiles": [-1, 50]}, r"percentiles must lie in \[0, 100\]"),
        ({"percentiles": 5}, "percentiles must be two numbers in rising order"),
        ({"window": [240, -160]}, "window must be two numbers in rising order"),
        ({"window": 240}, r"window must be two numbers in rising order, \[low, high\], got 240"),
        ({"window": "soft"}, "window must be two numbers in rising order"),
        ({"window": ["a", "b"]}, "window must be two numbers in rising order"),
        ({"window": [float("nan"), 1]}, "window must be two numbers in rising order"),
    ],
)
def test_limits_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RescaleIntensityd("image", **settings)
