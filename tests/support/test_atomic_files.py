# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

import pytest

import monai_diffae
from monai_diffae.support.atomic_files import partial_path, replacing

PACKAGE = Path(monai_diffae.__file__).parent


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_appears_in_full_or_stays_as_it_was(tmp_path, before):
    path = tmp_path / "deep" / "a.nii.gz"
    if before:
        path.parent.mkdir()
        path.write_text(before)

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            assert partial.parent == path.parent
            assert partial.name.startswith(".")
            assert partial.name.endswith("a.nii.gz")  # by which libraries know the format
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [p.read_text() for p in path.parent.iterdir()] == ([before] if before else [])
    with replacing(path) as partial:
        partial.write_text("new")
        assert not path.exists() or path.read_text() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.nii.gz"]
    assert path.read_text() == "new"


def test_writers_of_one_file_do_not_meet(tmp_path):
    names = {partial_path(tmp_path / "a.csv", writer).name for writer in (None, 0, 1)}
    assert len(names) == 3


def test_what_a_killed_process_has_left_is_written_over(tmp_path):
    partial_path(tmp_path / "a.txt").write_text("half of a long text")
    with replacing(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "new")]


def test_nothing_else_in_the_package_renames_what_it_has_written():
    """One writer: the table whose rows come over a whole run takes its name by itself."""
    renaming = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"os\.(replace|rename)\(|\.(rename|replace)\([^,()\"']*\)", path.read_text())
    }
    assert renaming <= {"support/atomic_files.py", "results/tables.py", "bundles/new_bundle.py"}
