# SPDX-License-Identifier: Apache-2.0
import pickle

import pytest
import torch

from monai_diffae.support.torch_files import read_state_dict, read_torch_file


def test_file_is_read(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    assert torch.equal(read_torch_file(tmp_path / "a.pt")["a"], torch.ones(2))
    assert torch.equal(read_state_dict(tmp_path / "a.pt")["a"], torch.ones(2))


@pytest.mark.parametrize("damage", [b"", b"no weights", "cut", "flipped", pickle.dumps({"a": print})])
def test_damaged_or_foreign_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.ones(200)}, path)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[20:60] = bytes(40)
    else:
        content = damage
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"weights\.pt' cannot be read: expected tensors") as error:
        read_torch_file(path)
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("content", [torch.ones(1), {"a": 1}, {1: torch.ones(1)}, [torch.ones(1)]])
def test_what_is_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    read_torch_file(tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt' is no plain state dict"):
        read_state_dict(tmp_path / "a.pt")


def test_missing_file_stays_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / "a.pt")
