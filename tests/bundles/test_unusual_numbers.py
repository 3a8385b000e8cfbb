# SPDX-License-Identifier: Apache-2.0
"""Voxels and results that are not finite, and masks on grids of their own, through the bundles."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from latent_workflows import Bundle, read_table
from PIL import Image

from monai_diffae.support.root_cause import root_cause

FEW = {"z_dim": 8, "progress": False, "batch_size": 4, "num_inference_steps": 1, "inversion": "explicit"}
AFFINE = np.diag([6.0, 6, 6, 1])


@pytest.fixture
def volumes(tmp_path) -> Path:
    """Five balls, the first with voxels that are not finite; a mask of the upper half of three, on a smaller grid."""
    for name in ("images", "lesions"):
        (tmp_path / "data" / name).mkdir(parents=True)
    places = np.indices((24, 24, 24))
    ball = np.linalg.norm(places - 11.5, axis=0) < 10
    for k in range(5):
        image = (ball * (100 + np.random.default_rng(k).normal(size=ball.shape))).astype(np.float32)
        if k == 0:
            image[:2], image[11, 11, 11] = np.nan, np.inf
        nib.save(nib.Nifti1Image(image, AFFINE), tmp_path / "data" / "images" / f"{k}.nii.gz")
        if k < 3:
            mask = (ball & (places[2] > 11))[4:20, 4:20, 6:]
            shifted = AFFINE @ nib.affines.from_matvec(np.eye(3), [4, 4, 6])
            nib.save(nib.Nifti1Image(mask.astype(np.uint8), shifted), tmp_path / "data" / "lesions" / f"{k}.nii.gz")
    rows = "".join(f"images/{k}.nii.gz,{int(k < 3)}\n" for k in range(5))
    (tmp_path / "data" / "labels.csv").write_text("file,lesion\n" + rows)
    return tmp_path / "data"


def brain_bundle(folder: Path, data: Path) -> Bundle:
    options = FEW | {"image_size": 32, "pixdim": 6.0, "dataset_dir": str(data), "volume_figures": False}
    return Bundle("brain_slices_diffae", folder, **options).randomize()


def test_a_mask_with_a_smaller_field_of_view_labels_the_slices_it_marks(volumes, tmp_path):
    bundle = brain_bundle(tmp_path, volumes)
    options = {"attributes": "lesion", "mask_labels": "lesion", "slice_range": [0.0, 1.0]}
    options |= {"batch_size": 8}  # the 60 slices with a mask share a batch with those of volumes without one
    bundle.run("inference", "fit_attributes", output_dir=str(tmp_path / "out"), **options)
    (row,) = read_table(tmp_path / "out" / "attributes.csv")
    assert (row["labels"], row["positive"]) == (str(5 * 20), str(3 * 10))


def test_voxels_that_are_not_finite_are_said_or_refused(volumes, tmp_path, caplog):
    bundle = brain_bundle(tmp_path, volumes)
    bundle.run("inference", output_dir=str(tmp_path / "out"))
    assert "0.nii.gz: 1153 of 13824 voxels are not finite (1152 NaN, 1 infinite)" in caplog.text
    assert np.isfinite(nib.load(tmp_path / "out" / "images" / "1_reconstruction.nii.gz").get_fdata()).all()
    with pytest.raises(Exception, match="Failed") as raised:
        bundle.run("inference", output_dir=str(tmp_path / "other"), not_finite="refuse")
    assert "0.nii.gz: 1153 of 13824 voxels are not finite" in str(root_cause(raised.value))


def test_dimensions_of_length_one_are_written_back(volumes, tmp_path):
    source = nib.load(volumes / "images" / "1.nii.gz")
    nib.save(nib.Nifti1Image(source.get_fdata()[..., None, None], AFFINE), volumes / "images" / "1.nii.gz")
    bundle = brain_bundle(tmp_path, volumes)
    bundle.run("inference", output_dir=str(tmp_path / "out"))
    written = nib.load(tmp_path / "out" / "images" / "1_reconstruction.nii.gz")
    assert written.shape == (24, 24, 24, 1, 1)
    changed = written.get_fdata()[..., 0, 0] != source.get_fdata()
    assert 0 < changed.sum() < changed.size / 2


def break_weights(bundle: Bundle) -> None:
    state = torch.load(bundle.options["ckpt_path"], weights_only=True)
    torch.save({key: x * torch.nan for key, x in state.items()}, bundle.options["ckpt_path"])


def test_nothing_is_written_of_weights_that_are_not_finite(volumes, tmp_path):
    bundle = brain_bundle(tmp_path, volumes)
    break_weights(bundle)
    with pytest.raises(Exception, match="Failed") as raised:
        bundle.run("inference", output_dir=str(tmp_path / "out"), inversion="explicit")
    assert "model.pt' are of a training that failed" in str(root_cause(raised.value))
    assert list((tmp_path / "out").rglob("*.nii.gz")) == []


def test_no_pictures_are_written_of_weights_that_are_not_finite(tmp_path):
    (tmp_path / "data").mkdir()
    for k in range(2):
        Image.fromarray(np.full((20, 20), 100 + k, np.uint8)).save(tmp_path / "data" / f"{k}.png")
    bundle = Bundle("natural_images_diffae", tmp_path, image_size=16, dataset_dir=str(tmp_path / "data"), **FEW)
    break_weights(bundle)
    with pytest.raises(Exception, match="Failed") as raised:
        bundle.run("inference", output_dir=str(tmp_path / "out"))
    assert "model.pt' are of a training that failed" in str(root_cause(raised.value))
    assert list((tmp_path / "out").rglob("*.png")) == []
