# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor

from monai_diffae.data import VolumeSlices

AFFINE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, -0.3, 0.1) @ np.diag([-1.5, 2.0, 3.0]), [30.0, -40.0, 12.5]
)


def volumes(*depths: int, tracked: bool = True) -> list[dict]:
    """Volumes whose values are 1000 times their number plus the index of the slice."""
    data = []
    for number, depth in enumerate(depths):
        image = (1000.0 * number + torch.arange(depth)).expand(2, 4, 3, depth).clone()
        meta = {"filename_or_obj": f"{number}.nii", "pixdim": [1, 2, 3]}
        data.append({"image": MetaTensor(image, affine=torch.tensor(AFFINE), meta=meta) if tracked else image})
    return data


def indices(slices: VolumeSlices, volume: int = 0) -> list[int]:
    return [item["slice"] for item in slices if item["volume"] == volume]


@pytest.mark.parametrize("tracked", [True, False], ids=["MetaTensor", "plain"])
def test_items_are_the_slices_of_each_volume_in_their_order(tracked):
    slices = VolumeSlices(volumes(3, 5, tracked=tracked))
    assert len(slices) == 8
    assert slices.starts == [0, 3, 8]
    found = [(item["volume"], item["slice"], float(item["image"].unique())) for item in slices]
    assert found == [(v, k, 1000.0 * v + k) for v, depth in enumerate((3, 5)) for k in range(depth)]
    for item in slices:
        assert item["image"].shape == (2, 4, 3)
        assert isinstance(item["image"], MetaTensor) == tracked


def test_slices_lie_where_they_lie_in_the_volume():
    for item in VolumeSlices(volumes(9), num_slices=4):
        for i, j in ((0, 0), (3, 0), (1, 2)):
            there = nib.affines.apply_affine(item["image"].affine.numpy(), (i, j, 0))
            np.testing.assert_allclose(there, nib.affines.apply_affine(AFFINE, (i, j, item["slice"])), atol=1e-6)
        assert item["image"].meta["filename_or_obj"] == "0.nii"
        assert "pixdim" not in item["image"].meta


def test_a_slice_tells_its_place_as_a_fraction_of_the_volume():
    assert [item["slice_place"] for item in VolumeSlices(volumes(4, 2))] == [0.125, 0.375, 0.625, 0.875, 0.25, 0.75]


def test_batches_of_slices_keep_an_affine_each():
    batch = next(iter(DataLoader(VolumeSlices(volumes(4)), batch_size=4)))
    assert batch["image"].shape == (4, 2, 4, 3)
    origins = batch["image"].affine[:, :3, 3].numpy()
    np.testing.assert_allclose(np.diff(origins, axis=0), np.tile(AFFINE[:3, 2], (3, 1)), atol=1e-6)


def test_a_slice_does_not_share_memory_with_its_volume():
    data = volumes(4)
    VolumeSlices(data)[1]["image"].fill_(-1)
    assert float(data[0]["image"].min()) == 0


@pytest.mark.parametrize("depth", [1, 2, 7, 10, 61])
@pytest.mark.parametrize("num_slices", [1, 2, 3, 5, 20, None])
@pytest.mark.parametrize("slice_range", [(0.0, 1.0), (0.45, 0.75), (0.9, 1.0), (0.0, 0.01)])
def test_slices_are_evenly_spaced_inside_the_range_and_as_many_as_there_are(depth, num_slices, slice_range):
    found = indices(VolumeSlices(volumes(depth), num_slices, slice_range))
    low, high = slice_range
    within = list(range(min(int(low * depth), depth - 1), max(round(high * depth), int(low * depth) + 1)))
    assert set(found) <= set(within)
    assert len(found) == (len(within) if num_slices is None else min(num_slices, len(within)))
    strides = set(np.diff(found))
    assert len(strides) <= 1
    assert min(strides, default=1) >= 1
    # As many are left out before the first as after the last, give or take one; the stride could not be larger.
    before, after = found[0] - within[0], within[-1] - found[-1]
    assert after - before in (0, 1)
    if len(found) > 1:
        assert (min(strides) + 1) * len(found) > len(within)


@pytest.mark.parametrize(
    ("num_slices", "slice_range", "expected"),
    [
        (None, (0.0, 1.0), list(range(10))),
        (None, (0.2, 0.5), [2, 3, 4]),
        (3, (0.0, 1.0), [1, 4, 7]),
        (1, (0.0, 1.0), [4]),
        (5, (0.0, 1.0), [0, 2, 4, 6, 8]),
        (20, (0.5, 1.0), [5, 6, 7, 8, 9]),
    ],
)
def test_of_ten_slices_the_expected_ones_are_taken(num_slices, slice_range, expected):
    assert indices(VolumeSlices(volumes(10), num_slices, slice_range)) == expected


@pytest.mark.parametrize(
    ("num_slices", "slice_range"),
    [(0, (0.0, 1.0)), (-2, (0.0, 1.0)), (None, (0.5, 0.5)), (None, (0.6, 0.4)), (None, (-0.1, 1.0)), (3, (0.0, 1.1))],
)
def test_numbers_out_of_range_are_refused(num_slices, slice_range):
    with pytest.raises(ValueError, match="Expected num_slices of 1 or more"):
        VolumeSlices(volumes(4), num_slices, slice_range)


def test_all_keys_are_sliced_where_they_are_there_and_other_entries_are_passed_on():
    data = volumes(4, 4)
    data[0] |= {"mask": MetaTensor(torch.arange(4.0).expand(1, 4, 3, 4)), "lesion": 1.0}
    slices = VolumeSlices(data, keys=("image", "mask"))
    assert slices[2]["mask"].shape == (1, 4, 3)
    assert float(slices[2]["mask"].unique()) == 2
    assert slices[2]["lesion"] == 1.0
    assert "mask" not in slices[6]
    assert set(data[0]) == {"image", "mask", "lesion"}


@pytest.mark.parametrize(
    ("step", "num_slices", "expected"), [(3, None, [0, 3, 6, 9]), (2, 2, [2, 6]), (4, 9, [0, 4, 8]), (20, None, [0])]
)
def test_every_nth_slice_is_taken(step, num_slices, expected):
    assert indices(VolumeSlices(volumes(10), num_slices, step=step)) == expected


def test_slices_without_enough_foreground_are_left_out():
    data = volumes(6, 3, 4)
    for item in data:
        item["image"][:] = -1
    data[0]["image"][:, :2, :, [1, 2, 4]] = 0.5  # half of the pixels
    data[2]["image"][:, :1, :, 3] = 0.5  # a quarter
    slices = VolumeSlices(data, min_foreground=0.5)
    assert indices(slices) == [1, 2, 4]
    assert slices.starts == [0, 3, 3, 3]
    assert [item["volume"] for item in VolumeSlices(data, min_foreground=0.25)] == [0, 0, 0, 2]
    assert VolumeSlices(data, min_foreground=0.25).starts == [0, 3, 3, 4]
    with pytest.raises(ValueError, match=r"None of the 3 volumes has a slice with min_foreground 0\.9"):
        len(VolumeSlices(data, min_foreground=0.9))
    assert len(VolumeSlices(data, min_foreground=0.5, foreground_level=-1.5)) == 13


@pytest.mark.parametrize("settings", [{"step": 0}, {"min_foreground": 1.5}, {"min_foreground": -0.1}])
def test_a_step_or_a_share_out_of_range_is_refused(settings):
    with pytest.raises(ValueError, match=r"Expected step of 1 or more and min_foreground in \[0, 1\]"):
        VolumeSlices(volumes(4), **settings)
