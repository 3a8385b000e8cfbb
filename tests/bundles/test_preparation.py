# SPDX-License-Identifier: Apache-2.0
"""What the network of the brain bundle sees of files of different modalities."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from latent_workflows import root_cause
from monai.bundle import ConfigParser
from PIL import Image

CONFIGS = Path(__file__).parents[2] / "bundles" / "brain_slices_diffae" / "configs"
TRANSFORMS = {"train": "volume_preprocessing", "inference": "preprocessing"}


def prepared(file: Path, config: str = "inference", **options) -> torch.Tensor:
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / f"{config}.yaml"))
    parser.update({"dataset_dir": str(file.parent), "bundle_root": "."} | options)
    return torch.as_tensor(parser.get_parsed_content(TRANSFORMS[config])({"image": str(file)})["image"])


def ball(background: float, inside: float, size: int = 40) -> np.ndarray:
    """A ball with a gradient in it, on a background, off the centre."""
    places = np.indices((size,) * 3)
    distance = np.linalg.norm(places - np.array([17.0, 20, 22]).reshape(3, 1, 1, 1), axis=0)
    return np.where(distance < 10, inside * (1 + 0.05 * (places[0] - 17) / 10), background).astype(np.float32)


@pytest.fixture(params=["mr", "ct", "negative"])
def volume(request, tmp_path) -> tuple[Path, dict]:
    background, inside, options = {
        "mr": (0, 800, {}),
        "ct": (-1000, 60, {"window": [-160, 240]}),
        "negative": (-900, -300, {}),
    }[request.param]
    file = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(ball(background, inside), np.diag([3.0, 3, 3, 1])), file)
    return file, options


@pytest.mark.parametrize("config", TRANSFORMS)
def test_what_is_around_the_foreground_is_black_whatever_the_image_size(volume, config):
    file, options = volume
    images = {size: prepared(file, config, image_size=size, **options) for size in (32, 64, 96)}
    for size, image in images.items():
        assert image.shape == (1, size, size, 19)
        assert float(image[:, :4].max()) == float(image[:, :, -4:].max()) == -1
        assert float(image[:, size // 2, size // 2, 9]) > 0
        edge = (size - 32) // 2
        torch.testing.assert_close(image[:, edge : edge + 32, edge : edge + 32], images[32])


@pytest.mark.parametrize("config", TRANSFORMS)
@pytest.mark.parametrize("background", [0, 255, 128])
def test_a_picture_has_no_frame(tmp_path, config, background):
    pixels = np.full((40, 50), background, dtype=np.uint8)
    pixels[10:30, 15:40] = np.arange(25, dtype=np.uint8) * 9 + 5
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = prepared(tmp_path / "a.png", config, picture_spacing=3.0)
    assert image.shape == (1, 64, 64, 1)
    assert float(image[0, 0].max()) == float(image[0, :, 0].max()) == -1  # the padding
    assert float(image.max()) == 1


@pytest.mark.parametrize("config", TRANSFORMS)
def test_percentiles_and_a_threshold_are_options_of_both(tmp_path, config):
    file = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(ball(100, 800), np.diag([3.0, 3, 3, 1])), file)
    whole = prepared(file, config, foreground_threshold=-1)
    assert whole.shape[-1] == 40
    assert prepared(file, config, foreground_threshold=820).shape[-1] < 19
    dark, bright = (prepared(file, config, percentiles=[0, q]).mean() for q in (99.75, 60))
    assert dark < bright


@pytest.mark.parametrize("config", TRANSFORMS)
def test_a_volume_of_one_value_is_refused_by_its_name(tmp_path, config):
    nib.save(nib.Nifti1Image(np.full((8, 8, 8), 5.0, dtype=np.float32), np.diag([3.0, 3, 3, 1])), tmp_path / "a.nii")
    with pytest.raises(Exception, match="applying transform") as raised:
        prepared(tmp_path / "a.nii", config)
    assert "a.nii has no foreground: all of it is 5" in root_cause(raised.value)


@pytest.mark.parametrize("config", TRANSFORMS)
def test_a_volume_too_small_to_show_anything_is_refused_by_its_name(tmp_path, config):
    volume = np.random.default_rng(0).uniform(1, 9, (40, 40, 40)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([0.02, 0.02, 0.02, 1])), tmp_path / "a.nii")
    with pytest.raises(Exception, match="applying transform") as raised:
        prepared(tmp_path / "a.nii", config)
    cause = str(root_cause(raised.value))
    assert "a.nii: its foreground has 1 x 1 x 1 voxels of 3 x 3 x 3 mm (the file's are 0.02 x 0.02 x 0.02 mm)" in cause
    assert prepared(tmp_path / "a.nii", config, pixdim=0.02).shape == (1, 64, 64, 40)


def test_masks_are_padded_with_nothing(tmp_path):
    file, mask = tmp_path / "a.nii.gz", tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(ball(0, 800), np.diag([3.0, 3, 3, 1])), file)
    nib.save(nib.Nifti1Image((ball(0, 800) > 810).astype(np.uint8), np.diag([3.0, 3, 3, 1])), mask)
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "inference.yaml"))
    item = parser.get_parsed_content("preprocessing")({"image": str(file), "lesion_mask": str(mask)})
    assert item["lesion_mask"].shape == item["image"].shape
    assert sorted(item["lesion_mask"].unique().tolist()) == [0, 1]
