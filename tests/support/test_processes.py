# SPDX-License-Identifier: Apache-2.0
from itertools import chain

import ignite.distributed as idist
import pytest
import torch

from monai_diffae.support import processes


def as_process(monkeypatch, rank: int, count: int) -> None:
    monkeypatch.setattr(idist, "get_rank", lambda: rank)
    monkeypatch.setattr(idist, "get_world_size", lambda: count)


@pytest.mark.parametrize(("length", "count"), [(7, 1), (7, 2), (7, 3), (3, 3), (10, 4)])
def test_parts_make_the_whole_in_order(monkeypatch, length, count):
    parts = []
    for rank in range(count):
        as_process(monkeypatch, rank, count)
        parts.append(list(processes.part(range(length))))
    assert list(chain(*parts)) == list(range(length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_fewer_items_than_processes_are_refused(monkeypatch):
    as_process(monkeypatch, 0, 3)
    with pytest.raises(ValueError, match="2 items cannot be shared by 3 processes"):
        processes.part(["a", "b"])


def test_a_batch_is_divided_or_refused(monkeypatch):
    assert processes.batch_share(5) == 5
    as_process(monkeypatch, 1, 4)
    assert processes.batch_share(8) == 2
    with pytest.raises(ValueError, match="multiple of their number, 4; got 6"):
        processes.batch_share(6)


def test_start_without_torchrun_says_what_to_do(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match=r"RANK.*torchrun --standalone"):
        processes.start()


def test_a_single_process_trains_the_module_itself():
    module = torch.nn.Linear(2, 2)
    assert processes.parallel(module) is module
