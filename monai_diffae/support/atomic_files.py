# SPDX-License-Identifier: Apache-2.0
"""Files that appear when they are complete: written under another name, which they change in the end."""

from __future__ import annotations

import errno
import glob
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PARTIAL", "partial_path", "remove_of_killed", "replacing", "this_process"]

_LITTLE = 4096  # bytes: less than a block is nothing
PARTIAL = ".partial."  # how names begin of what is not complete; nothing that looks for inputs takes hidden files


def partial_path(path: str | os.PathLike, writer: str | int | None = None) -> Path:
    """The name that a file has until it is complete, ``.partial.<name>``: beside it, with its extension.

    Args:
        path: of the complete file.
        writer: where several may write a file of this name at the same time, what tells them apart, as in
            ``.partial.<writer>.<name>``.
    """
    path = Path(path)
    return path.with_name(f"{PARTIAL}{'' if writer is None else f'{writer}.'}{path.name}")


def this_process() -> str:
    """The writer of :func:`partial_path` where processes that know nothing of each other may write one file."""
    return f"{platform.node()}-{os.getpid()}"


def remove_of_killed(path: str | os.PathLike) -> None:
    """Remove what processes of this machine (:func:`this_process`) that were killed have left of a file."""
    path, mine = Path(path), f"{PARTIAL}{platform.node()}-"
    for partial in path.parent.glob(f"{glob.escape(mine)}*.{glob.escape(path.name)}"):
        process = partial.name.removeprefix(mine).removesuffix(f".{path.name}")
        if process.isdecimal() and not _is_alive(int(process)):
            partial.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # where the call below would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


@contextmanager
def replacing(path: str | os.PathLike, writer: str | int | None = None) -> Iterator[Path]:
    """``with replacing("a.csv") as partial: write(partial)``: a file that is there in full, or as it was before.

    Args:
        path: of the file; missing folders are made.
        writer: of :func:`partial_path`.

    Yields:
        The path to write to. When the block has ended the file takes its name; when it raises, nothing is left. What a
        killed process leaves there, the next one writes over.

    Raises:
        OSError: where the disk is full or the folder may not be written, whatever the writer's library calls that.
    """
    partial = partial_path(path, writer)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        os.replace(partial, path)
    except Exception as error:
        if _is_full(partial.parent, error):
            raise OSError(
                errno.ENOSPC,
                "No space left on device; what was there before is whole. Free some space and give the command again",
                os.fspath(path),
            ) from None
        if not isinstance(error, OSError) and (reason := _refusal(partial)) is not None:
            raise OSError(reason.errno, reason.strerror, os.fspath(path)) from None
        raise
    finally:
        partial.unlink(missing_ok=True)


def _is_full(folder: Path, error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return shutil.disk_usage(folder).free < _LITTLE


def _refusal(partial: Path) -> OSError | None:
    """The system's own words where the file cannot be opened: those of torch's writers name no file."""
    try:
        open(partial, "ab").close()
    except OSError as reason:
        return reason
    return None
