# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.testing import data_path

from monai_diffae.data import LoadVolumed

NIBABEL = Path(data_path)


def save(file: Path, data: np.ndarray) -> str:
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 3.0, 4.0, 1.0])), file)
    return str(file)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 4), (6, 5, 4, 1), (6, 5, 4, 1, 1)])
def test_volumes_of_two_and_more_dimensions_become_one_channel_of_three(tmp_path, shape):
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    image = LoadVolumed("image")({"image": save(tmp_path / "a.nii", data)})["image"]
    assert image.shape == (1, *(*shape, 1)[:3])
    np.testing.assert_array_equal(image.numpy().ravel(), data.ravel())
    np.testing.assert_array_equal(image.affine, np.diag([2.0, 3.0, 4.0, 1.0]))
    assert image.meta["filename_or_obj"] == str(tmp_path / "a.nii")


def test_of_four_dimensions_one_channel_is_named(tmp_path):
    file = str(NIBABEL / "example4d.nii.gz")
    expected = nib.load(file).get_fdata()[..., 1]
    image = LoadVolumed("image", channel=1)({"image": file})["image"]
    np.testing.assert_array_equal(image[0], expected)
    for channel in (None, 2, -1):
        with pytest.raises(ValueError, match=rf"example4d.nii.gz has 2 channels .*0 to 1; channel is {channel}"):
            LoadVolumed("image", channel=channel)({"image": file})
    three = save(tmp_path / "a.nii", np.zeros((4, 4, 4), np.float32))
    assert LoadVolumed("image", channel=1)({"image": three})["image"].shape == (1, 4, 4, 4)


def test_what_is_not_a_number_becomes_the_lowest(tmp_path):
    data = np.full((3, 3, 3), np.nan, dtype=np.float32)
    data[1] = 7
    data[2] = 9
    image = LoadVolumed("image")({"image": save(tmp_path / "a.nii", data)})["image"]
    assert sorted(torch.unique(image).tolist()) == [7, 9]


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a\.nii\.gz cannot be read as an image"):
        LoadVolumed("image")({"image": tmp_path / "a.nii.gz"})


def test_missing_keys_are_passed_where_they_may_be(tmp_path):
    assert LoadVolumed("mask", allow_missing_keys=True)({"image": 1}) == {"image": 1}
    with pytest.raises(KeyError):
        LoadVolumed("mask")({"image": 1})


# DICOM


@pytest.fixture
def series(tmp_path) -> Path:
    """pydicom's CT slice at three places, numbered against their order."""
    pydicom = pytest.importorskip("pydicom")
    folder = tmp_path / "series"
    folder.mkdir()
    for k, name in enumerate(("c", "a", "b")):
        dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
        dataset.ImagePositionPatient = [-158.0, -179.0, -75.0 + 5 * k]
        dataset.InstanceNumber = 10 - k
        dataset.SOPInstanceUID = pydicom.uid.generate_uid()
        dataset.PixelData = (dataset.pixel_array + k).astype(np.int16).tobytes()
        dataset.save_as(folder / name)
    return folder


def test_a_dicom_series_is_stacked_by_position(series):
    image = LoadVolumed("image")({"image": str(series)})["image"]
    assert image.shape == (1, 128, 128, 3)
    np.testing.assert_allclose(image.affine[:3, 3], [158, 179, -75], atol=1e-4)
    np.testing.assert_allclose(image.affine[:3, 2], [0, 0, 5], atol=1e-4)
    assert torch.all(image[..., 1] - image[..., 0] == 1)
    assert image.meta["filename_or_obj"] == str(series)


def test_a_series_that_lacks_a_slice_is_refused(series):
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.dcmread(series / "b")
    dataset.ImagePositionPatient = [-158.0, -179.0, -60.0]
    dataset.save_as(series / "b")
    with pytest.raises(ValueError, match=r"not evenly spaced: between 5\.000 and 10\.000 mm"):
        LoadVolumed("image")({"image": str(series)})
