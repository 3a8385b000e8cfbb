# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import sys

import ignite.distributed as idist
import pytest
import torch

from monai_diffae.data import UsableItems, VolumeSlices, WholeVolumes
from monai_diffae.support.bad_files import BadFiles, FilesLeftOut
from monai_diffae.support.root_cause import print_root_cause


class Files:
    """A data set of files, of which some cannot be read; an item is its place."""

    def __init__(self, bad: set[int], count: int = 4, error: Exception | None = None) -> None:
        self.data = [{"image": f"{k}.png"} for k in range(count)]
        self.bad = bad
        self.error = ValueError("it is\ndamaged") if error is None else error

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: int) -> dict:
        if place in self.bad:
            raise RuntimeError("applying transform") from self.error
        return {"image": torch.full((1, 2, 2, 3), place)}


def test_the_others_go_on_with_the_places_that_they_have_in_the_list(tmp_path):
    bad = BadFiles("skip", tmp_path / "out" / "failures.csv")
    files = Files({0, 2})
    items = UsableItems(files, bad)
    assert [int(item["image"][0, 0, 0, 0]) for item in items] == [1, 3]
    assert items.starts == [0, 0, 1, 1, 2]
    slices = VolumeSlices(files, bad_files=bad)
    assert slices.starts == [0, 0, 3, 3, 6]
    assert [item["volume"] for item in slices][::3] == [1, 3]
    assert [item["volume"] for item in WholeVolumes(files, bad_files=bad)] == [1, 3]
    with pytest.raises(FilesLeftOut) as raised:
        bad.finish()
    assert str(raised.value).splitlines()[1:] == ["  0.png: it is damaged", "  2.png: it is damaged"]
    assert str(raised.value).startswith("2 of 4 files could not be used")
    with open(tmp_path / "out" / "failures.csv", newline="") as f:
        assert list(csv.reader(f)) == [["file", "reason"], ["0.png", "it is damaged"], ["2.png", "it is damaged"]]
    again = BadFiles("skip", bad.table)
    again.finish()  # nothing was looked through: what is known holds
    assert bad.table.exists()
    assert len(UsableItems(Files(set()), again)) == 4
    again.finish()
    assert not bad.table.exists()


def test_stop_ends_at_the_first_and_tells_what_to_do():
    for data in (VolumeSlices(Files({1}), bad_files=BadFiles("stop")), WholeVolumes(Files({1}), bad_files=None)):
        with pytest.raises(ValueError, match=r"^1\.png cannot be used: it is damaged\. .*--on_error skip\.$"):
            list(data)
    with pytest.raises(ValueError, match="must be one of skip, stop, got 'ignore'"):
        BadFiles("ignore")


@pytest.mark.parametrize(
    ("count", "says"), [(1, r"^0\.png: it is damaged$"), (3, r"^None of the 3 files can be used\.")]
)
def test_nothing_goes_on_without_a_file(count, says):
    with pytest.raises(ValueError, match=says):
        len(UsableItems(Files({0, 1, 2}, count), BadFiles("skip")))


@pytest.mark.parametrize("error", [ImportError("pip install pynrrd"), torch.OutOfMemoryError("CUDA out of memory")])
def test_what_is_not_the_fault_of_a_file_ends_the_run(error):
    bad = BadFiles("skip")
    with pytest.raises(RuntimeError, match="applying transform") as raised:
        len(UsableItems(Files({1}, error=error), bad))
    assert raised.value.__cause__ is error
    assert not bad.reasons


@pytest.mark.parametrize("on_error", ["skip", "stop"])
def test_memory_that_is_full_ends_the_run_at_a_file_that_is_named(on_error):
    bad = BadFiles(on_error)
    with pytest.raises(MemoryError, match=r"^The memory was full when 1\.png was prepared\. A smaller batch_size"):
        list(UsableItems(Files({1}, error=MemoryError()), bad))
    assert not bad.reasons


def test_a_process_without_a_usable_file_says_which_process_it_is(monkeypatch):
    monkeypatch.setattr(idist, "get_rank", lambda: 1)
    monkeypatch.setattr(idist, "get_world_size", lambda: 3)
    with pytest.raises(ValueError, match=r"the share of process 2 of 3 can be used\. Start fewer .*: 0\.png: it is"):
        len(UsableItems(Files({0, 1}, 2), BadFiles("skip")))


def test_a_long_list_is_cut_in_the_log_and_whole_in_the_table(tmp_path, caplog):
    bad = BadFiles("skip", tmp_path / "failures.csv", is_failure=False)
    list(UsableItems(Files(set(range(30)), 31), bad))
    caplog.clear()
    bad.finish()
    (record,) = caplog.records
    assert record.getMessage().splitlines()[-1] == "  and 10 more"
    assert len((tmp_path / "failures.csv").read_text().splitlines()) == 31


def test_the_list_is_all_that_is_printed_at_the_end(monkeypatch, capsys):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    print_root_cause()
    error = RuntimeError("Failed to evaluate")
    error.__cause__ = FilesLeftOut("1 of 2 files")
    sys.excepthook(RuntimeError, error, None)
    assert capsys.readouterr().err == "1 of 2 files\n"
