# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.data import DataLoader, MetaTensor

from monai_diffae.data import WholeVolumes


def volume(value: float, **meta) -> dict:
    affine = torch.diag(torch.tensor([2.0, 2, 3, 1]))
    image = MetaTensor(torch.full((1, 4, 5, 6), value), affine=affine, meta={"filename_or_obj": f"{value}.nii", **meta})
    return {"image": image, "subject": f"sub-{value}"}


def test_volumes_of_different_formats_make_a_batch_and_know_their_place():
    data = [volume(0.0, dim_info=3, original_affine=torch.eye(4)), volume(1.0, space="RAS")]
    data[1]["image"].push_applied_operation({"class": "Flipd"})
    volumes = WholeVolumes(data)
    assert len(volumes) == 2
    batch = next(iter(DataLoader(volumes, batch_size=2)))
    assert batch["image"].shape == (2, 1, 4, 5, 6)
    assert batch["volume"].tolist() == [0, 1]
    assert batch["subject"] == ["sub-0.0", "sub-1.0"]
    assert [volumes[k]["image"].meta["filename_or_obj"] for k in range(2)] == ["0.0.nii", "1.0.nii"]
    torch.testing.assert_close(volumes[1]["image"].affine, data[1]["image"].affine)
    assert data[1]["image"].applied_operations  # what undoes the preparation stays with the data


def test_images_that_an_item_lacks_or_that_are_plain_are_left_alone():
    volumes = WholeVolumes([{"image": torch.zeros(1, 2, 2, 2)}], keys=("image", "lesion_mask"))
    assert set(volumes[0]) == {"image", "volume"}
    assert not isinstance(volumes[0]["image"], MetaTensor)


@pytest.mark.parametrize("index", [-1, 2])
def test_there_is_nothing_beyond_the_last_volume(index):
    with pytest.raises(IndexError):
        WholeVolumes([volume(0.0), volume(1.0)])[index]
