# SPDX-License-Identifier: Apache-2.0
"""Slices put back into the grid of their source, against the linear field that both grids sample."""

from __future__ import annotations

import copy

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, CropForegroundd, Orientationd, ResizeWithPadOrCropd, Spacingd

from monai_diffae.data import RescaleIntensityd
from monai_diffae.results.source_grid import place_slices

GRADIENT = torch.tensor([2.0, -3.0, 1.5], dtype=torch.float64)  # intensity a mm


def rotated(angles: tuple, spacing: tuple) -> np.ndarray:
    return nib.affines.from_matvec(nib.eulerangles.euler2mat(*angles) @ np.diag(spacing), [12.0, -7.0, 30.0])


AFFINES = {
    "straight": np.diag([2.0, 2.0, 2.0, 1.0]),
    "flipped": np.diag([-1.0, -1.5, 2.0, 1.0]),
    "permuted": np.array([[0, 0, 1.5, -20], [-1.0, 0, 0, 30], [0, 2.0, 0, -10], [0, 0, 0, 1]]),
    "oblique": rotated((0.3, -0.2, 0.25), (1.2, 1.0, 1.4)),
    "anisotropic": rotated((0.05, 0.1, 0), (0.9, 0.9, 6.0)),
}


def field(shape: tuple, affine: np.ndarray) -> torch.Tensor:
    """Intensity 500 plus the gradient times the place in mm, ``(1, X, Y, Z)``."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij"), dim=-1)
    places = grid @ torch.as_tensor(affine[:3, :3]).T + torch.as_tensor(affine[:3, 3])
    return (500 + places @ GRADIENT)[None]


def transforms(spacing: tuple = (3.0, 3.0, 3.0), size: int = 24, axcodes: str = "RAS") -> Compose:
    return Compose(
        [
            Orientationd("image", axcodes=axcodes, labels=None),
            Spacingd("image", pixdim=spacing, mode="bilinear"),
            CropForegroundd("image", source_key="image", allow_smaller=True),
            RescaleIntensityd("image", percentiles=[0, 100]),
            ResizeWithPadOrCropd("image", spatial_size=(size, size, -1), value=-1),
        ]
    )


def prepared(shape: tuple, affine: np.ndarray, preprocessing: Compose) -> MetaTensor:
    source = MetaTensor(field(shape, affine).float(), affine=torch.as_tensor(affine))
    return preprocessing({"image": source})["image"]


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("axcodes", ["RAS", "ASR", "RSA"])
def test_what_was_not_changed_comes_back_to_where_it_was(name, axcodes):
    shape, affine, preprocessing = (30, 26, 12), AFFINES[name], transforms(size=40, axcodes=axcodes)
    image = prepared(shape, affine, preprocessing)
    indices = range(image.shape[-1])
    placed = place_slices(image[..., indices], indices, image, preprocessing, affine, shape)
    assert placed.box == (slice(0, 30), slice(0, 26), slice(0, 12))
    assert placed.covered.float().mean() > 0.9
    assert placed.covered[3:-3, 3:-3, 3:-3].all()
    error = (placed.values[0] - field(shape, affine)[0]).abs()
    assert float(error[3:-3, 3:-3, 3:-3].max()) < 0.01
    # Beyond the centres of the outermost coarse voxels values are constant: up to half a voxel of the gradient.
    assert float(error[placed.covered].max()) <= 1.5 * float(GRADIENT.abs().sum())


@pytest.mark.parametrize("name", AFFINES)
def test_places_and_values_agree_with_the_inverse_of_all_transforms(name):
    shape, affine, preprocessing = (30, 26, 12), AFFINES[name], transforms(size=16)
    image = prepared(shape, affine, preprocessing)
    indices = [image.shape[-1] // 2, image.shape[-1] // 2 + 1]
    values = torch.full_like(image, -1.0)
    values[..., indices] = torch.rand(16, 16, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    placed = place_slices(values[..., indices], indices, image, preprocessing, affine, shape)
    covered, result = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape)
    covered[placed.box], result[placed.box] = placed.covered, placed.values[0]

    ones = torch.zeros_like(image)
    ones[..., indices] = 1
    without_scaling = Compose(preprocessing.transforms[:-2] + preprocessing.transforms[-1:])
    placing = image.applied_operations[:-2] + image.applied_operations[-1:]
    weighted, weight = (
        without_scaling.inverse({"image": MetaTensor(x.as_tensor(), image.affine, applied_operations=operations)})
        for x, operations in ((x, copy.deepcopy(placing)) for x in ((values + 1) / 2 * ones, ones))
    )
    weighted, weight = weighted["image"].as_tensor()[0], weight["image"].as_tensor()[0]
    low, high = (image.applied_operations[-2]["extra_info"][name] for name in ("low", "high"))
    assert covered.sum() > 100
    inner = (slice(3, -3),) * 3  # MONAI's border padding goes on beyond the outermost coarse voxels
    assert covered[inner][weight[inner] > 0.7].all()
    assert not covered[weight < 0.1].any()
    expected = (weighted / weight.clamp_min(0.1) * (high - low) + low)[covered]
    torch.testing.assert_close(result[covered], expected, rtol=1e-3, atol=0.05)


def test_single_slices_cover_their_own_thickness_only():
    shape, affine, preprocessing = (20, 20, 30), np.diag([1.0, 1.0, 1.0, 1.0]), transforms(size=12)
    image = prepared(shape, affine, preprocessing)
    placed = place_slices(image[..., [2, 6]], [2, 6], image, preprocessing, affine, shape)
    covered = torch.zeros(shape, dtype=torch.bool)
    covered[placed.box] = placed.covered
    assert covered.any(dim=0).any(dim=0).nonzero().flatten().tolist() == [5, 6, 7, 17, 18, 19]


def test_what_was_cropped_off_and_what_was_padded_on_is_not_covered():
    shape, affine = (40, 40, 10), np.diag([1.0, 1.0, 1.0, 1.0])
    source = torch.zeros(1, *shape)
    source[:, 10:20, 5:35] = 100 + torch.rand(1, 10, 30, 10)
    preprocessing = transforms(spacing=(1.0, 1.0, 1.0), size=20)
    image = preprocessing({"image": MetaTensor(source, affine=torch.as_tensor(affine))})["image"]
    assert image.shape == (1, 20, 20, 10)
    placed = place_slices(image[..., [4]], [4], image, preprocessing, affine, shape)
    covered = torch.zeros(shape, dtype=torch.bool)
    covered[placed.box] = placed.covered
    expected = torch.zeros(shape, dtype=torch.bool)
    expected[10:20, 10:30, 4] = True  # x: padded from 10 to 20, y: cropped from 30 to 20
    assert torch.equal(covered, expected)
    values = torch.zeros(shape)
    values[placed.box] = placed.values[0]
    torch.testing.assert_close(values[covered], source[0][covered], rtol=1e-4, atol=1e-2)


def test_without_an_invertible_scaling_there_is_no_way_back():
    preprocessing = Compose(transforms().transforms[:-2] + transforms().transforms[-1:])
    image = prepared((10, 10, 10), AFFINES["straight"], preprocessing)
    with pytest.raises(ValueError, match=r"monai_diffae\.data\.RescaleIntensityd"):
        place_slices(image[..., [0]], [0], image, preprocessing, AFFINES["straight"], (10, 10, 10))
