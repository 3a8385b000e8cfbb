# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_diffae.support.atomic_files import replacing


def test_the_file_is_there_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as partial:
        partial.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"
    with replacing(path) as partial:
        partial.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two"
    assert [found.name for found in path.parent.iterdir()] == ["file.txt"]


def test_after_an_error_the_old_file_is_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write()
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]


def test_what_a_killed_process_has_left_is_written_over(tmp_path):
    path = tmp_path / "file.txt"
    (tmp_path / "file.txt.partial").write_text("half of a long text")
    with replacing(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
