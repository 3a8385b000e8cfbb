# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import filecmp
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

__all__ = ["set_aside"]

logger = logging.getLogger(__name__)


def set_aside(output_dir: str | os.PathLike, moved: Iterable[Path], kept: Iterable[str | os.PathLike]) -> Path | None:
    """Put what an earlier run has left into ``<output_dir>/earlier_runs/<number>``, and say so in the log.

    Args:
        output_dir: of both runs.
        moved: files that the new run must not take for its own.
        kept: files that the new run will write over when it has something better: they stay, and a second name keeps
            their content. What is kept already is not kept again; files that do not exist are left out.

    Returns:
        The new folder, or None if there was nothing to set aside.
    """
    folder = Path(output_dir) / "earlier_runs"
    moved = list(moved)
    kept = [path for path in map(Path, kept) if path.is_file() and not _is_kept(path, folder)]
    if not moved and not kept:
        return None
    numbers = [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
    new = folder / str(max(numbers, default=0) + 1)
    new.mkdir(parents=True)
    for path in moved:
        shutil.move(path, new / path.name)
    for path in kept:
        try:
            os.link(path, new / path.name)
        except OSError:  # of another disk, or one that has no links
            shutil.copy2(path, new / path.name)
    names = ", ".join(sorted(path.name for path in [*moved, *kept]))
    logger.warning(f"What an earlier run has left in {output_dir} is now in {new}: {names}.")
    return new


def _is_kept(path: Path, folder: Path) -> bool:
    others = (other for other in folder.glob(f"*/{path.name}") if other.is_file())
    return any(filecmp.cmp(path, other, shallow=False) for other in others)
