# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_diffae.support import memory


def test_sizes_are_those_of_all_tensors_and_arrays():
    item = {"image": torch.zeros(2, 3), "more": [np.zeros(4, dtype=np.int16), (torch.zeros(5).bool(),)], "name": "a"}
    assert memory.size_in_memory(item) == 24 + 8 + 5


@pytest.mark.parametrize(("limit", "used", "expected"), [("1000", "400", 600), ("1000", "1400", 0), ("max", "1", None)])
def test_a_containers_limit_counts(tmp_path, monkeypatch, limit, used, expected):
    machine = memory.free_memory()
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    if expected is None:
        assert memory.free_memory() > 10**6
        assert machine > 10**6
    else:
        assert memory.free_memory() == expected


def test_there_is_a_guess_where_nothing_tells(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_of_the_machine", lambda: None)
    assert memory.free_memory() == 2**32
