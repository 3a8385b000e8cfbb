# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_diffae.data import MaskedChanged


@pytest.fixture
def difference(device) -> torch.Tensor:
    """(N, C, X, Y): -1 in the left half and 3 in the right one, times the number of the edit."""
    one = torch.full((1, 4, 6), -1.0, device=device)
    one[..., 3:] = 3
    return torch.stack([one, 2 * one])


def left_half(device: str) -> torch.Tensor:
    mask = torch.zeros(1, 4, 6, device=device)
    mask[..., :3] = 1
    return mask


def test_changes_are_mean_sizes_inside_and_outside_the_mask(difference, device):
    found = MaskedChanged("difference", "mask")({"difference": difference[0], "mask": left_half(device)})
    assert (float(found["change_inside"]), float(found["change_outside"])) == (1, 3)
    series = MaskedChanged("difference", "mask")({"difference": difference, "mask": left_half(device)})
    assert series["change_inside"].tolist() == [1, 2]
    assert series["change_outside"].tolist() == [3, 6]


def test_a_volume_has_its_mask_too(device):
    volume, mask = torch.ones(1, 2, 2, 2, device=device), torch.zeros(1, 2, 2, 2, device=device)
    volume[0, 0, 0, 0], mask[0, 0, 0, 0] = 9, 1
    found = MaskedChanged("difference", "mask")({"difference": volume, "mask": mask})
    assert (float(found["change_inside"]), float(found["change_outside"])) == (9, 1)


@pytest.mark.parametrize("masked", [True, False])
def test_without_a_mask_everything_is_outside(difference, device, masked):
    item = {"difference": difference} | ({"mask": torch.zeros(1, 4, 6, device=device)} if masked else {})
    found = MaskedChanged("difference", "mask")(item)
    assert found["change_inside"].isnan().all()
    assert found["change_inside"].shape == (2,)
    assert found["change_outside"].tolist() == [2, 4]


def test_a_mask_of_another_size_is_refused(difference, device):
    with pytest.raises(ValueError, match=r"'mask' of \[4, 5\] does not fit"):
        MaskedChanged("difference", "mask")({"difference": difference, "mask": torch.zeros(1, 4, 5, device=device)})
    with pytest.raises(ValueError, match="one difference"):
        MaskedChanged(["a", "b"], "mask")
