# SPDX-License-Identifier: Apache-2.0
"""A disk that is full: the last line says it, nothing half-written is left, and what was there before stays."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from killing import import_all
from read_materials import write_materials
from tasks import TASKS

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks and name spaces of Linux")
_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000
NOBODY = 65534


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Which every user may read."""
    import_all()  # before a process becomes a user who may not read the interpreter's files
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        write_materials(Path(folder))
        yield Path(folder)


def in_child(work: Callable[[], dict]) -> dict:
    """What a forked process finds; an error of its own fails the test."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        found = {"error": "the process has ended"}
        try:
            os.close(read)
            torch.set_num_threads(1)
            found = work()
        except BaseException as error:
            found = {"error": repr(error)}
        finally:
            os.write(write, json.dumps(found).encode()[:60_000])
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return found


def last_line(log: Path) -> str:
    return log.read_text().strip().splitlines()[-1]


def mount_small_disk(folder: Path, size: str) -> None:
    """A file system of this process alone.

    Raises:
        OSError: where the kernel does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    flags = _NEW_MOUNTS if user == 0 else _NEW_USER | _NEW_MOUNTS
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    libc.mount(b"none", b"/", None, 0x44000, None)  # private, with all below
    if libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), "mount")


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
