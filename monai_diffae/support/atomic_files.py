# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A file to write that takes the place of ``path`` when the block has ended: the whole new file, or the old one.

    It lies beside ``path`` as ``<name>.partial``; what a killed process leaves there is written over by the next one.
    Folders are made.

    Args:
        path: of the file when it is whole.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
