# SPDX-License-Identifier: Apache-2.0
"""Real processes, killed at random moments and started again, until the work is done.

A process is a fork of this one, which has imported everything and computed nothing: threads of a pool do not survive
a fork.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from tasks import TASKS, Task

from monai_diffae.support.atomic_files import PARTIAL

_NOT_RESULTS = (".resume", "earlier_runs")  # what a run needs to go on
_TIMES = ("hours",)  # columns of training_log.csv


@dataclass(frozen=True)
class Interrupted:
    """What became of a work."""

    task: str
    kills: int  # that hit a process at work
    while_writing: int  # of them while a file was incomplete
    attempts: int
    differing: tuple[str, ...]  # files that are not those of the uninterrupted run
    left: tuple[str, ...]  # of what was not complete
    lost: int  # times that less was there than before the process was killed

    @property
    def is_right(self) -> bool:
        return not (self.differing or self.left or self.lost)


def started(task: Task, home: Path, output_dir: Path) -> int:
    """A process that does the work."""
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # whichever of the two comes first
            os.setpgid(pid, pid)
        return pid
    code = 70
    try:
        os.setpgid(0, 0)
        torch.set_num_threads(1)
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        code = task.run(home, output_dir)
    finally:
        os._exit(code)


def ended(pid: int) -> int | None:
    """The exit status of a process, or None while it works."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def uninterrupted(task: Task, home: Path, output_dir: Path) -> float:
    """Do the work; returns the seconds that it takes."""
    start = time.monotonic()
    _, status = os.waitpid(started(task, home, output_dir), 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise RuntimeError(f"The work fails without being interrupted: exit code {code}, see {output_dir}.log.")
    return time.monotonic() - start


def interrupt(name: str, home: Path, folder: Path, kills: int, seed: int) -> Interrupted:
    """Do a work twice, once by processes of which ``kills`` are killed, and compare.

    Every third one is killed when it writes a file, the others anywhere in the time that the work takes.
    """
    task, draw = TASKS[name], random.Random(f"{seed} {name}")
    whole, pieces = folder / "whole", folder / "pieces"
    seconds = uninterrupted(task, home, whole)
    killed = writing = attempts = lost = 0
    while killed < kills and attempts < 4 * kills + 4:
        kept = _kept(task, pieces)
        pid = started(task, home, pieces)
        attempts += 1
        code, was_writing = _watched(pid, pieces, seconds * draw.uniform(0.05, 1.0), wait_for_file=attempts % 3 == 0)
        killed += code == -signal.SIGKILL
        writing += was_writing
        lost += _kept(task, pieces) < kept
        if code == 0:  # it was quicker: the next one starts anew
            shutil.rmtree(pieces)
        elif code != -signal.SIGKILL:
            raise RuntimeError(f"{name}: a process that was started again ends with {code}, see {pieces}.log.")
    uninterrupted(task, home, pieces)
    return Interrupted(name, killed, writing, attempts + 1, _differing(whole, pieces), _partial(pieces), lost)


def killed_after(task: Task, home: Path, output_dir: Path, seconds: float) -> bool:
    """Start a work and kill it; whether it was still at work."""
    return _watched(started(task, home, output_dir), output_dir, seconds, wait_for_file=False)[0] == -signal.SIGKILL


def _watched(pid: int, folder: Path, seconds: float, wait_for_file: bool) -> tuple[int, bool]:
    end = time.monotonic() + seconds
    while (code := ended(pid)) is None:
        is_written = bool(_partial(folder))
        if is_written if wait_for_file else time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            return os.waitstatus_to_exitcode(status), is_written
        time.sleep(0.0005 if wait_for_file else 0.005)
    return code, False


def _partial(folder: Path) -> tuple[str, ...]:
    found = []
    for place, folders, files in os.walk(folder):  # what vanishes meanwhile is no error
        found += [str(Path(place, name).relative_to(folder)) for name in (*folders, *files) if PARTIAL in name]
    return tuple(found)


def _kept(task: Task, folder: Path) -> int:
    """How far the work is kept: the number of the last checkpoint, or of the images that are done."""
    names = [path.stem for path in folder.glob(task.kept)] if task.kept and folder.exists() else []
    numbers = [int(name.rpartition("_")[2]) for name in names if name.startswith("checkpoint_")]
    return max(numbers, default=len(names) - len(numbers))


def _differing(whole: Path, pieces: Path) -> tuple[str, ...]:
    one, other = contents(whole), contents(pieces)
    return tuple(sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name)))


def contents(folder: Path) -> dict[str, object]:
    """The content of all files that are results, to the bit."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in _NOT_RESULTS and not path.name.startswith(("events.out", PARTIAL)):
            found[str(name)] = _content(path)
    return found


def _content(path: Path) -> object:
    if path.suffix == ".pt":
        return _plain(torch.load(path, map_location="cpu", weights_only=True))
    if path.name == "training_log.csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        return [{name: value for name, value in row.items() if name not in _TIMES} for row in rows]
    return path.read_bytes()


def _plain(value: object) -> object:
    """Of a file of weights, what can be compared: tensors as their bits."""
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), str(value.dtype), value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def import_all() -> None:
    """What every process needs, once: each fork has it."""
    for room in (
        "bundles",
        "checkpoints",
        "commands",
        "data",
        "datasets",
        "inferers",
        "metrics",
        "networks",
        "results",
    ):
        importlib.import_module(f"monai_diffae.{room}")
    for module in ("monai_diffae.training", "monai.bundle.scripts", "fire", "matplotlib.figure", "ignite.handlers"):
        importlib.import_module(module)
