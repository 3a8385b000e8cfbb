# SPDX-License-Identifier: Apache-2.0
"""Folders that runs write to carry a mark, so that a later run does not take their results for images to process."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

from ignite.engine import Engine, Events

from monai_diffae.support.atomic_files import PARTIAL

__all__ = ["as_folder", "is_output_folder", "leave_none_without_results", "mark_output_folder", "run_into"]

_MARK = ".monai_diffae"  # empty
_NO_RESULTS = {_MARK, ".pseudonyms_salt"}


def as_folder(output_dir: str) -> str:
    """An output folder, which is made when there is something to write.

    Raises:
        ValueError: for a file.
    """
    if os.path.exists(output_dir) and not os.path.isdir(output_dir):
        raise ValueError(f"output_dir {output_dir!r} is a file; give a folder, which is made if need be.")
    return output_dir


def leave_none_without_results(output_dir: str | os.PathLike) -> None:
    """From now on, an uncaught error leaves no folder behind in which there is nothing but logs that have just been
    begun. For ``initialize``: TensorBoard opens its files when a configuration is read.

    Args:
        output_dir: of the run; what was there before stays.
    """
    folder, before = Path(output_dir), sys.excepthook
    if folder.exists():
        return

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        files = [path for path in folder.rglob("*") if path.is_file()]
        if all(path.name in _NO_RESULTS or _is_begun_log(path) for path in files):
            shutil.rmtree(folder, ignore_errors=True)
        before(kind, error, traceback)

    sys.excepthook = hook


def run_into(engine: Engine, output_dir: str | os.PathLike) -> None:
    """Run an engine; where that fails, nothing incomplete is left in its folder, and no folder without results.

    Args:
        engine: an evaluator.
        output_dir: that its handlers write into. What was there before the run stays.
    """
    folder, start = Path(output_dir), time.time()
    was_there = folder.exists()
    try:
        engine.run()
    except BaseException:
        for path in folder.rglob(f"{PARTIAL}*"):
            if path.is_file() and path.stat().st_mtime >= start - 1:
                path.unlink(missing_ok=True)
        if not was_there and {path.name for path in folder.rglob("*") if path.is_file()} <= _NO_RESULTS:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def mark_output_folder(engine: Engine, output_dir: str | os.PathLike) -> None:
    """Mark ``output_dir`` when an engine starts, after its other handlers: a run that fails before leaves no trace."""

    def mark() -> None:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        (Path(output_dir) / _MARK).touch()

    engine.add_event_handler(Events.STARTED, mark)


def is_output_folder(folder: str | os.PathLike, names: Collection[str]) -> bool:
    """Whether a run wrote to a folder: by its mark, or by what versions before 0.2.0 left there.

    Args:
        folder: its path.
        names: of what is in it.
    """
    if _MARK in names or ".resume" in names:
        return True
    if "latents.csv" not in names:
        return False
    try:
        with open(Path(folder) / "latents.csv", encoding="utf-8", errors="replace") as f:
            header = f.readline().split(",")
    except OSError:
        return False
    return header[0] == "file" and "z_0" in header


def _is_begun_log(path: Path) -> bool:
    """Whether TensorBoard has written no more than the head of a file."""
    return path.name.startswith("events.out.tfevents.") and path.stat().st_size <= 256
