# SPDX-License-Identifier: Apache-2.0
"""What becomes of files that cannot be used: the first one ends the run, or the others go on and it is said which."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import ignite.distributed as idist
import torch.distributed as dist

from monai_diffae.support import processes
from monai_diffae.support.atomic_files import replacing
from monai_diffae.support.out_of_memory import is_out_of_memory
from monai_diffae.support.root_cause import SaidInFull, root_cause

__all__ = ["BadFiles", "FilesLeftOut"]

logger = logging.getLogger(__name__)

ON_ERROR = ("skip", "stop")
_SHOWN = 20


class FilesLeftOut(SaidInFull, RuntimeError):
    """The run has come to its end without some of its files, which its message lists."""


class BadFiles:
    """The files of a run that cannot be used.

    Data sets hand over what happened to a file. With ``stop`` that ends the run, with ``skip`` the file is remembered
    and the data set goes on without it; :meth:`finish` says which they were.

    Args:
        on_error: ``skip`` or ``stop``.
        table: CSV with the columns ``file`` and ``reason`` that :meth:`finish` writes; it holds the files of the last
            run alone, and is removed by a run that left out none.
        is_failure: whether :meth:`finish` ends with an error where files were left out: exit code 1.

    Raises:
        ValueError: for another ``on_error``.
    """

    def __init__(self, on_error: str = "stop", table: str | os.PathLike | None = None, is_failure: bool = True) -> None:
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error must be one of {', '.join(ON_ERROR)}, got {on_error!r}.")
        self.on_error = on_error
        self.table = None if table is None else Path(table)
        self.is_failure = is_failure
        self.reasons: dict[str, str] = {}
        self._files: set[str] = set()  # of the data sets that were looked through

    @property
    def are_skipped(self) -> bool:
        """Whether data sets should go on without a bad file."""
        return self.on_error == "skip"

    def add(self, file: str, error: BaseException) -> None:
        """
        Args:
            file: that cannot be used, in words for a message.
            error: that it raised.

        Raises:
            ValueError: with ``stop``, naming the file and what can be done.
            MemoryError: where the processor's memory is full, naming the file.
            BaseException: ``error`` itself where it is not the file's: a device whose memory is full, a package that is
                missing, an interruption.
        """
        cause = root_cause(error)
        if isinstance(cause, MemoryError):
            hint = "A smaller batch_size, fewer num_workers or a smaller cache_gigabytes need less."
            raise MemoryError(f"The memory was full when {file} was prepared. {hint}") from None
        if not isinstance(error, Exception) or isinstance(cause, ImportError) or is_out_of_memory(error):
            raise error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        if not self.are_skipped:
            named = reason if file in reason else f"{file} cannot be used: {reason}"
            hint = "Mend or remove the file, or leave such files out by --on_error skip."
            raise ValueError(f"{named}{'' if named.endswith('.') else '.'} {hint}") from None
        if file not in self.reasons:
            logger.warning("Left out: %s", _line(file, reason))
        self.reasons[file] = reason

    def looked_through(self, files: Sequence[str]) -> None:
        """A data set of these files knows which of them it can use.

        Raises:
            ValueError: if it is none: of several processes that share the files, each needs one.
        """
        self._files.update(files)
        if not files or not all(file in self.reasons for file in files):
            return
        first = _line(files[0], self.reasons[files[0]])
        if (count := idist.get_world_size()) > 1:
            which = f"that are the share of process {idist.get_rank() + 1} of {count} can be used"
            hint = "Start fewer processes, or mend or remove these files."
            raise ValueError(f"None of the {len(files)} files {which}. {hint} The first: {first}")
        raise ValueError(
            first if len(files) == 1 else f"None of the {len(files)} files can be used. The first: {first}"
        )

    def finish(self) -> None:
        """For the end of a run: list what was left out, in the log and in the table.

        Several processes put theirs together; the first one writes, and all of them leave the process group.

        Raises:
            FilesLeftOut: with ``is_failure``, if there are some.
        """
        reasons, files = self._of_all_processes()
        if self.table is not None and files and idist.get_rank() == 0:
            self._write(reasons)
        if not reasons:
            return
        where = f", see {self.table}" if self.table is not None else ""
        lines = [f"{len(reasons)} of {len(files)} files could not be used and were left out{where}:"]
        lines += [f"  {_line(*item)}" for item in list(reasons.items())[:_SHOWN]]
        lines += [f"  and {len(reasons) - _SHOWN} more"] if len(reasons) > _SHOWN else []
        if self.is_failure:
            if dist.is_available() and dist.is_initialized():
                processes.end()
            raise FilesLeftOut("\n".join(lines))
        if idist.get_rank() == 0:
            logger.warning("\n".join(lines))

    def _of_all_processes(self) -> tuple[dict[str, str], set[str]]:
        found = [(self.reasons, self._files)]
        if dist.is_available() and dist.is_initialized():
            found = found * dist.get_world_size()
            dist.all_gather_object(found, (self.reasons, self._files))
        reasons = {file: reason for reasons, _ in found for file, reason in reasons.items()}
        return dict(sorted(reasons.items())), set().union(*(files for _, files in found))

    def _write(self, reasons: dict[str, str]) -> None:
        if not reasons:
            self.table.unlink(missing_ok=True)
            return
        with (
            replacing(self.table) as partial,
            open(partial, "w", newline="", encoding="utf-8", errors="backslashreplace") as f,
        ):
            csv.writer(f).writerows([("file", "reason"), *reasons.items()])


def _line(file: str, reason: str) -> str:
    line = reason if file in reason else f"{file}: {reason}"
    return line.encode(errors="backslashreplace").decode()
