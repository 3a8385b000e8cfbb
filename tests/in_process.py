# SPDX-License-Identifier: Apache-2.0
"""``python -m`` in this process, which has imported everything: a new one takes seconds before it begins."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import runpy
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a command has ended."""

    returncode: int
    stdout: str
    stderr: str


def run_module(module: str, *words: object, cwd: Path | str | None = None) -> Ended:
    """Run a module as ``python -m module words`` does, with what an interpreter does about an error that is not caught.

    Args:
        module: with a ``__main__``.
        words: of the command line.
        cwd: the working directory meanwhile.
    """
    out, err = io.StringIO(), io.StringIO()
    with _restored(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = [module, *map(str, words)]
        sys.excepthook = sys.__excepthook__
        if cwd is not None:
            os.chdir(cwd)
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
            code = 1
    return Ended(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    """What commands change in their process is as before at the end."""
    root = logging.getLogger()
    argv, hook, folder, handlers, level = sys.argv, sys.excepthook, os.getcwd(), root.handlers[:], root.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # pytest makes errors of ours
            yield
    finally:
        sys.argv, sys.excepthook, root.handlers, root.level = argv, hook, handlers, level
        os.chdir(folder)
