# SPDX-License-Identifier: Apache-2.0
"""Folders that runs write to carry a mark, so that a later run does not take their results for images to process."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from ignite.engine import Engine, Events

__all__ = ["is_output_folder", "mark_output_folder"]

_MARK = ".monai_diffae"  # empty


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
