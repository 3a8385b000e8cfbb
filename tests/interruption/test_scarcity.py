# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, or that may only be read: the last line says it, nothing half-written is left, and what was
there before stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from children import drop_root, in_child, last_line, linux, make_read_only, mount_small_disk, prepared
from tasks import TASKS


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return prepared(tmp_path_factory.mktemp("home"))


@linux
@pytest.mark.parametrize(
    ("work", "size"),
    [("training of the autoencoder", "300k"), ("inference on a folder of volumes", "20k"), ("encoding", "4k")],
)
def test_a_full_disk_is_said_and_earlier_results_stay(home, tmp_path, work, size):
    def run() -> dict:
        disk = tmp_path / "disk"
        disk.mkdir()
        try:
            mount_small_disk(disk, size)
        except OSError as error:
            return {"impossible": str(error)}
        (disk / "out").mkdir()
        (disk / "earlier.txt").write_text("a result")
        code = TASKS[work].run(home, disk / "out", log=tmp_path / "log")
        partial = [path.name for path in disk.rglob(".partial.*")]
        return {"code": code, "partial": partial, "earlier": (disk / "earlier.txt").read_text()}

    found = in_child(run)
    if "impossible" in found:
        pytest.skip(f"no file system of one's own here: {found['impossible']}")
    assert found == {"code": 1, "partial": [], "earlier": "a result"}
    assert "No space left on device" in last_line(tmp_path / "log")


WRITERS = [
    "training of the autoencoder",
    "training of the latent diffusion",
    "inference on a folder of volumes",
    "inference on a folder of pictures",
    "encoding",
    "sampling",
    "generation of data",
]


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@linux
@pytest.mark.parametrize("work", WRITERS)
def test_a_folder_that_may_not_be_written_is_said(home, tmp_path, work):
    out = tmp_path / "out"
    out.mkdir()
    (out / "earlier.txt").write_text("a result")
    out.chmod(0o555)

    def run() -> dict:
        drop_root()
        return {"code": TASKS[work].run(home, out, log=tmp_path / "log")}

    assert in_child(run) == {"code": 1}
    line = last_line(tmp_path / "log")
    assert "Permission denied" in line
    assert str(out) in line
    assert contents(out) == {"earlier.txt": "a result"}


@linux
@pytest.mark.parametrize("work", ["training of the autoencoder", "encoding"])
def test_a_disk_that_may_only_be_read_is_said(home, tmp_path, work):
    def run() -> dict:
        disk = tmp_path / "disk"
        disk.mkdir()
        try:
            mount_small_disk(disk, "1M")
            (disk / "earlier.txt").write_text("a result")
            make_read_only(disk)
        except OSError as error:
            return {"impossible": str(error)}
        return {"code": TASKS[work].run(home, disk / "out", log=tmp_path / "log"), "files": contents(disk)}

    found = in_child(run)
    if "impossible" in found:
        pytest.skip(f"no file system of one's own here: {found['impossible']}")
    assert found == {"code": 1, "files": {"earlier.txt": "a result"}}
    assert "Read-only file system" in last_line(tmp_path / "log")
