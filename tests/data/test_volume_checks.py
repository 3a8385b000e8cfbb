# SPDX-License-Identifier: Apache-2.0
"""Volumes that look like volumes and are none."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_diffae.data import LoadVolumed

RANDOM = np.random.default_rng(0)
AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])


def save(folder: Path, data: np.ndarray, affine: np.ndarray = AFFINE, **fields) -> str:
    """A file whose header has ``fields`` that nibabel would not write."""
    file = folder / "scan.nii"
    nib.save(nib.Nifti1Image(data, affine), file)
    content = file.read_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    file.write_bytes(header.binaryblock + content[348:])
    return str(file)


def load(file: str, **options) -> torch.Tensor:
    return LoadVolumed("image", **options)({"image": file})["image"]


def noise(*shape: int, dtype: str = "float32") -> np.ndarray:
    return RANDOM.uniform(20, 90, shape).astype(dtype)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (noise(4, 4, 4).astype(np.complex64), "holds complex64; expected integers or floats"),
        (np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), "expected integers or floats"),
        (noise(4, 4, 4, 2), "has 2 channels"),
        (noise(4, 4, 4, 1, 3), "has the shape|has 3 channels"),
        (noise(0, 4, 4), r"is empty: its shape is \[.*\]"),
        (np.full((4, 4, 4), np.nan, np.float32), "64 of 64 voxels are not finite"),
        (np.full((4, 4, 4), np.inf, np.float32), "64 of 64 voxels are not finite"),
    ],
)
def test_what_cannot_be_processed_is_refused_when_it_is_read(tmp_path, data, message):
    with pytest.raises(ValueError, match=rf"scan\.nii:? .*({message})"):
        load(save(tmp_path, data))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[np.nan, 0, 0], [0, 3, 0], [0, 0, 4]], "the affine in its header is not finite"),
        ([[np.inf, 0, 0], [0, 3, 0], [0, 0, 4]], "the affine in its header is not finite"),
        ([[0, 0, 0], [0, 3, 0], [0, 0, 4]], "singular .*voxels of 0 x 3 x 4 mm"),
        ([[2, 2, 0], [0, 0, 0], [0, 0, 4]], "singular"),
        ([[2, 2, 0], [3, 3, 0], [0, 0, 4]], "singular"),
        ([[20000, 0, 0], [0, 3, 0], [0, 0, 4]], "8e.04 x 12 x 16 mm large"),
    ],
)
def test_voxels_without_a_place_are_refused(tmp_path, matrix, message):
    rows = np.hstack([np.array(matrix, dtype=float), np.zeros((3, 1))])
    file = save(tmp_path, noise(4, 4, 4), srow_x=rows[0], srow_y=rows[1], srow_z=rows[2])
    with pytest.raises(ValueError, match=rf"scan\.nii: .*{message}"):
        load(file)


def test_oblique_and_sheared_volumes_have_a_place(tmp_path):
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([1, 1, 5.0]), [5, 6, 7])
    affine[0, 2] += 2.0  # a tilted gantry
    image = load(save(tmp_path, noise(6, 5, 4), affine))
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)


# Numbers that are not finite


def test_numbers_that_are_not_finite_are_replaced_and_counted(tmp_path, caplog):
    data = noise(4, 5, 6)
    data[0, 0, 0], data[1, 1, 1], data[2, 2, 2], data[3, 3, 3] = np.nan, np.inf, -np.inf, np.nan
    finite = data[np.isfinite(data)]
    loader, file = LoadVolumed("image"), save(tmp_path, data)
    image = loader({"image": file})["image"]
    assert image[0, 0, 0, 0] == image[0, 2, 2, 2] == image[0, 3, 3, 3] == finite.min()
    assert image[0, 1, 1, 1] == finite.max()
    assert torch.equal(image[0][torch.from_numpy(np.isfinite(data))].as_tensor(), torch.from_numpy(finite))
    loader({"image": file})
    (record,) = caplog.records
    assert "scan.nii: 4 of 120 voxels are not finite (2 NaN, 2 infinite) and became " in record.message


def test_numbers_too_large_for_32_bits_count_as_infinite(tmp_path, caplog):
    data = noise(4, 4, 4, dtype="float64")
    data[0, 0, 0] = 1e300
    image = load(save(tmp_path, data))
    assert float(image.max()) < 100
    assert "1 of 64 voxels are not finite (0 NaN, 1 infinite)" in caplog.text


def test_they_are_refused_where_that_is_asked_for(tmp_path):
    data = noise(4, 4, 4)
    assert load(save(tmp_path, data), not_finite="refuse").shape == (1, 4, 4, 4)
    data[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"scan\.nii: 1 of 64 voxels are not finite .*not_finite=replace"):
        load(save(tmp_path, data), not_finite="refuse")
    with pytest.raises(ValueError, match="not_finite must be one of replace, refuse, got 'zero'"):
        LoadVolumed("image", not_finite="zero")


# Headers that say a thing twice


def test_the_sform_is_taken_before_pixdim_and_that_is_said(tmp_path, caplog):
    file = save(tmp_path, noise(4, 4, 4), pixdim=[1, 1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(load(file).affine, AFFINE)
    assert "scan.nii: has voxels of other sizes by its sform than by its pixdim; the sform is taken" in caplog.text


def test_an_sform_and_a_qform_that_disagree_are_said(tmp_path, caplog):
    image = nib.Nifti1Image(noise(4, 4, 4), AFFINE)
    image.set_sform(AFFINE, 1)
    turned = AFFINE @ nib.affines.from_matvec(np.diag([1, -1, -1]), [0, 30, 0])
    image.set_qform(turned, 1)
    nib.save(image, tmp_path / "scan.nii")
    np.testing.assert_allclose(load(str(tmp_path / "scan.nii")).affine, AFFINE)
    assert "has an sform and a qform that disagree; the sform is taken" in caplog.text


def test_a_file_without_either_is_said(tmp_path, caplog):
    load(save(tmp_path, noise(4, 4, 4), sform_code=0, qform_code=0))
    assert "has neither sform nor qform" in caplog.text


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1), (2, 4)])
@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 4), (4, 4, 4, 1)])
def test_usual_headers_are_taken_without_a_word(tmp_path, caplog, codes, shape):
    image = nib.Nifti1Image(noise(*shape), AFFINE)
    image.set_sform(AFFINE, codes[0])
    image.set_qform(AFFINE, codes[1])
    nib.save(image, tmp_path / "scan.nii")
    load(str(tmp_path / "scan.nii"))
    assert caplog.records == []


@pytest.mark.parametrize(("unit", "scale"), [("micron", 0.001), ("meter", 1000.0), ("mm", 1.0), ("unknown", 1.0)])
def test_lengths_are_turned_into_mm(tmp_path, caplog, unit, scale):
    affine = AFFINE.copy()
    affine[:3] /= scale
    image = nib.Nifti1Image(noise(4, 4, 4), affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "scan.nii")
    np.testing.assert_allclose(load(str(tmp_path / "scan.nii")).affine, AFFINE, rtol=1e-5)
    assert ("unit" in caplog.text) == (scale != 1)
