# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, a folder that may only be read, a file that vanishes, a worker that dies or has no memory: the
last line says it, and what was there before stays."""

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


@linux
@pytest.mark.parametrize("work", ["training of the autoencoder", "inference on a folder of pictures", "encoding"])
def test_a_folder_that_may_only_be_read_is_said(home, work):
    folder = Path(tempfile.mkdtemp())
    (folder / "out").mkdir()
    os.chmod(folder / "out", 0o555)
    os.chmod(folder, 0o777)

    def run() -> dict:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        return {"code": TASKS[work].run(home, folder / "out", log=folder / "log")}

    assert in_child(run) == {"code": 1}
    line = last_line(folder / "log")
    assert "Permission denied" in line
    assert str(folder / "out") in line
    assert list((folder / "out").iterdir()) == []


@linux
@pytest.mark.parametrize("worker_ends", ["os.kill(os.getpid(), 9)", "__import__('resource').setrlimit(9, (1, 1))"])
def test_a_worker_that_dies_or_has_no_memory_is_said_and_the_run_goes_on_later(home, tmp_path, worker_ends):
    task = TASKS["training of the autoencoder"]
    end = {"num_workers": 1, "train::dataloader::worker_init_fn": f"$lambda _: {worker_ends}"}
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert in_child(lambda: {"code": task.run(home, whole)}) == {"code": 0}
    assert in_child(lambda: {"code": task.run(home, out, max_iterations=4)}) == {"code": 0}
    checkpoints = {path.name: path.read_bytes() for path in (out / "checkpoints").glob("*.pt")}
    assert in_child(lambda: {"code": task.run(home, out, **end)}) == {"code": 1}
    assert any(words in last_line(out.with_name("out.log")) for words in ("worker", "memory", "Memory"))
    assert {path.name: path.read_bytes() for path in (out / "checkpoints").glob("*.pt")} == checkpoints
    assert in_child(lambda: {"code": task.run(home, out, num_workers=1)}) == {"code": 0}
    a, b = (torch.load(folder / "models" / "model.pt", weights_only=True) for folder in (whole, out))
    assert all(torch.equal(value, b[name]) for name, value in a.items())


@linux
def test_a_file_that_vanishes_during_the_run_is_named_and_results_before_it_stay(home, tmp_path):
    """The second half of the pictures is gone when the first result is there."""
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for file in (home / "digits").iterdir():
        (data / file.name).write_bytes(file.read_bytes())

    def run() -> dict:
        rename = os.replace

        def renamed(partial: Path, path: Path) -> None:
            rename(partial, path)
            if Path(path).name == "0_reconstruction.png":
                for k in range(4, 8):
                    (data / f"{k}.png").unlink()

        os.replace = renamed
        task = TASKS["inference on a folder of pictures"]
        return {"code": task.run(home, out, dataset_dir=data, cache_gigabytes=0, batch_size=1)}

    found = in_child(run)
    assert found == {"code": 1}
    assert str(data / "4.png") in last_line(out.with_name("out.log"))
    assert sorted(path.name for path in out.glob("*.png")) == [f"{k}_reconstruction.png" for k in range(4)]
    assert not list(out.rglob(".partial.*"))
