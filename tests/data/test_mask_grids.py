# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_diffae.data import LoadVolumed, MatchGridd

SHAPE, AFFINE = (20, 24, 16), nib.affines.from_matvec(np.diag([2.0, 2, 3]), [-20, -30, 5])
CENTRE = AFFINE @ [9, 11, 7, 1]
TURNED = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([1.0, 1, 1]))


def ball(shape: tuple, affine: np.ndarray, radius: float = 6.9) -> np.ndarray:
    """1 within a distance in mm of a point in space."""
    grid = np.stack([*np.indices(shape), np.ones(shape)], axis=-1)
    return (np.linalg.norm((grid @ affine.T - CENTRE)[..., :3], axis=-1) < radius).astype(np.uint8)


def around_centre(matrix: np.ndarray, shape: tuple) -> np.ndarray:
    """An affine that puts the middle voxel on the ball's centre."""
    affine = matrix.copy()
    affine[:3, 3] = CENTRE[:3] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def load(folder: Path, mask: np.ndarray, affine: np.ndarray, suffix: str = ".nii.gz") -> dict:
    nib.save(nib.Nifti1Image(ball(SHAPE, AFFINE).astype(np.float32) * 100, AFFINE), folder / "image.nii.gz")
    file = folder / f"mask{suffix}"
    if suffix == ".npy":
        np.save(file, mask)
    else:
        nib.save(nib.Nifti1Image(mask, affine), file)
    item = LoadVolumed(["image", "lesion"])({"image": str(folder / "image.nii.gz"), "lesion": str(file)})
    return MatchGridd("lesion")(item)


GRIDS = {
    "same": (SHAPE, AFFINE),
    "smaller field of view": ((10, 12, 8), AFFINE @ nib.affines.from_matvec(np.eye(3), [4, 5, 3])),
    "larger field of view": ((40, 44, 30), AFFINE @ nib.affines.from_matvec(np.eye(3), [-9, -11, -7])),
    "finer": ((60, 72, 48), AFFINE @ nib.affines.from_matvec(np.eye(3) / 3, [-1 / 3] * 3)),
    "flipped": (SHAPE, AFFINE @ nib.affines.from_matvec(np.diag([-1, 1, -1]), [19, 0, 15])),
    "permuted": ((16, 20, 24), AFFINE[:, [2, 0, 1, 3]]),
    "turned": ((40, 40, 40), around_centre(TURNED, (40, 40, 40))),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_mask_on_any_grid_marks_what_it_marks(tmp_path, name):
    shape, affine = GRIDS[name]
    item = load(tmp_path, ball(shape, affine), affine)
    assert item["lesion"].shape == item["image"].shape
    np.testing.assert_allclose(item["lesion"].affine, AFFINE, atol=1e-4)
    truth = torch.from_numpy(ball(SHAPE, AFFINE)) > 0
    found = item["lesion"][0].as_tensor() > 0.5
    dice = 2 * float((truth & found).sum()) / float(truth.sum() + found.sum())
    assert dice == 1 if name != "turned" else dice > 0.85
    assert set(item["lesion"].unique().tolist()) == {0, 1}


def test_a_mask_that_misses_the_image_is_refused_by_both_names(tmp_path):
    away = AFFINE @ nib.affines.from_matvec(np.eye(3), [20.5, 0, 0])
    with pytest.raises(ValueError, match=r"mask\.nii\.gz \(lesion\) and .*image\.nii\.gz do not overlap"):
        load(tmp_path, np.ones(SHAPE, np.uint8), away)
    near = AFFINE @ nib.affines.from_matvec(np.eye(3), [19, 0, 0])
    assert load(tmp_path, np.ones(SHAPE, np.uint8), near)["lesion"].sum() == 24 * 16


def test_arrays_without_a_place_are_taken_for_the_images_grid_or_refused(tmp_path):
    item = load(tmp_path, ball(SHAPE, AFFINE), AFFINE, ".npy")
    np.testing.assert_allclose(item["lesion"].affine, AFFINE)
    assert torch.equal(item["lesion"][0].as_tensor(), torch.from_numpy(ball(SHAPE, AFFINE)).float())
    with pytest.raises(ValueError, match=r"mask\.npy .*have the shapes \[10, 24, 16\] and \[20, 24, 16\]"):
        load(tmp_path, ball(SHAPE, AFFINE)[:10], AFFINE, ".npy")


def test_an_item_may_have_no_mask(tmp_path):
    item = load(tmp_path, ball(SHAPE, AFFINE), AFFINE)
    assert set(MatchGridd(["lesion", "other"])({"image": item["image"]})) == {"image"}
