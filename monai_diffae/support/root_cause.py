# SPDX-License-Identifier: Apache-2.0
"""The cause of a failed bundle run, in plain words as its last line.

``monai.bundle run`` wraps every error in "Failed to evaluate ..." messages and leaves the cause dozens of lines above.
"""

from __future__ import annotations

import queue
import re
import sys
from types import TracebackType

from tqdm import tqdm

__all__ = ["SaidInFull", "print_root_cause", "root_cause"]

_WORKER = re.compile(r"DataLoader worker \(pid.*(killed|exited)")
_OF_WORKERS = (
    "It loads files, and was ended from outside, as systems do where the memory is full. Lower num_workers or "
    "batch_size, and give the command again; what is done stays."
)


class SaidInFull(Exception):
    """An error whose message is all that there is to say: where it was raised helps nobody."""


def root_cause(error: BaseException) -> BaseException:
    """The first error of a chain of ``raise ... from ...`` but ``queue.Empty``, which says nothing."""
    while error.__cause__ is not None and not isinstance(error.__cause__, queue.Empty):
        error = error.__cause__
    return error


def print_root_cause() -> None:
    """From now on, an uncaught error that has a cause ends with a line that states the cause. For ``initialize``.

    Progress bars are closed before: they would be drawn once more behind that line. Of an error that is
    :class:`SaidInFull` there is nothing but that.
    """

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        for bar in list(getattr(tqdm, "_instances", ())):
            bar.close()
        cause = root_cause(error)
        if isinstance(cause, SaidInFull):
            print(cause, file=sys.stderr)
            return
        sys.__excepthook__(kind, error, traceback)
        hint = f" {_OF_WORKERS}" if _WORKER.search(str(cause)) else ""
        if cause is not error or hint:
            print(f"\n{type(cause).__name__}: {cause}{hint}", file=sys.stderr)

    sys.excepthook = hook
