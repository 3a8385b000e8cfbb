# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_diffae.data import CropToForegroundd


def square(outside: float, inside: float) -> MetaTensor:
    image = torch.full((1, 10, 12, 8), outside)
    image[:, 2:7, 3:9, 1:6] = inside + torch.rand(1, 5, 6, 5, generator=torch.Generator().manual_seed(0))
    return MetaTensor(image, meta={"filename_or_obj": "scan.nii.gz"})


@pytest.mark.parametrize(
    ("outside", "inside", "settings", "shape"),
    [
        (0, 100, {}, (5, 6, 5)),
        (-1000, 40, {}, (5, 6, 5)),
        (-1, 0.2, {}, (5, 6, 5)),
        (-900, -500, {}, (5, 6, 5)),
        (-200, 40, {"window": [-160, 240]}, (5, 6, 5)),
        (-100, 40, {"window": [-160, 240]}, (10, 12, 8)),
        (10, 100, {"threshold": 50.0}, (5, 6, 5)),
        (10, 100, {"threshold": 50.0, "window": [0, 200]}, (5, 6, 5)),
        (10, 100, {"threshold": -1e9}, (10, 12, 8)),
        (7, 7, {"threshold": 0.0}, (10, 12, 8)),
    ],
)
def test_the_foreground_of_any_modality_is_cropped_to(outside, inside, settings, shape):
    image = square(outside, inside)
    mask = MetaTensor((image > 50).float())
    cropped = CropToForegroundd(["image", "mask", "other"], "image", allow_missing_keys=True, **settings)(
        {"image": image, "mask": mask}
    )
    assert cropped["image"].shape[1:] == cropped["mask"].shape[1:] == shape
    torch.testing.assert_close((cropped["image"] > 50).float().as_tensor(), cropped["mask"].as_tensor())


def test_the_crop_is_undone_by_its_inverse():
    crop = CropToForegroundd("image", "image")
    image = square(0, 100)
    torch.testing.assert_close(crop.inverse(crop({"image": image}))["image"].as_tensor(), image.as_tensor())


@pytest.mark.parametrize(
    ("image", "settings", "message"),
    [
        (torch.full((1, 4, 4, 4), 42.0), {}, "scan.nii.gz has no foreground: all of it is 42"),
        (torch.zeros(1, 4, 4, 4), {"threshold": 0}, "scan.nii.gz has no foreground: all of it is 0"),
        (square(-500, -200), {"window": [0, 80]}, r"scan.nii.gz has no foreground: its intensities are -500 to .* 0\."),
    ],
)
def test_an_image_without_foreground_is_refused_by_its_name(image, settings, message):
    image = MetaTensor(image, meta={"filename_or_obj": "scan.nii.gz"})
    with pytest.raises(ValueError, match=message):
        CropToForegroundd("image", "image", **settings)({"image": image})


@pytest.mark.parametrize("window", [240, "soft", [240, -160], [1, 2, 3]])
def test_a_window_is_two_numbers(window):
    with pytest.raises(ValueError, match="window must be two numbers in rising order"):
        CropToForegroundd("image", "image", window=window)
