# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_diffae.data import RecentDataset, VolumeSlices


def test_slices_in_a_row_prepare_their_volume_once_more_than_its_shape_needs():
    prepared = []

    def prepare(item: dict) -> dict:
        prepared.append(item["number"])
        return {"image": torch.full((1, 2, 2, 3), float(item["number"]))}

    slices = VolumeSlices(RecentDataset([{"number": i} for i in range(4)], prepare, num_kept=1))
    assert [float(slices[i]["image"].mean()) for i in range(len(slices))] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert prepared == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("num_kept", [1, 2, 3])
def test_the_last_items_are_kept_and_no_more(num_kept):
    prepared = []
    dataset = RecentDataset([10, 11, 12], lambda item: prepared.append(item) or item, num_kept=num_kept)
    assert [dataset[i] for i in (0, 1, 2, 2, 1, 0)] == [10, 11, 12, 12, 11, 10]
    assert len(prepared) == 6 - num_kept
    assert len(dataset._kept) == num_kept


def test_nothing_kept_is_refused():
    with pytest.raises(ValueError, match="num_kept must be 1 or more, got 0"):
        RecentDataset([1], num_kept=0)
