# SPDX-License-Identifier: Apache-2.0
"""A workflow as ``monai.bundle run`` takes it: its words, as a line to copy, and run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_diffae.bundles import shown_path

__all__ = ["bundle_words", "monai_line", "run_here", "run_in_processes", "shell_line"]

_PLAIN = re.compile(r"[\w@%+=:,./\[\]-]+")
_SPECIAL_IN_QUOTES = re.compile(r'["$`\\!]')


def bundle_words(folder: Path, files: Sequence[Path], options: Mapping[str, object]) -> list[str]:
    """The words behind ``python -m monai.bundle``.

    Args:
        folder: of the bundle.
        files: its configurations, in the order in which they are merged.
        options: ids of the configuration, with values as they are written on a command line.
    """
    names = [shown_path(path) for path in files]
    config = names[0] if len(names) == 1 else str(names)
    words = ["run", "--bundle_root", shown_path(folder), "--config_file", config]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    return words


def shell_line(words: Sequence[str]) -> str:
    """Words as a shell takes them, in double quotes where that is enough: lists of files hold single ones."""
    return " ".join(_quoted(word) for word in words)


def monai_line(words: Sequence[str], processes: int = 1) -> str:
    """The line that does what :func:`run_here`, or with several processes :func:`run_in_processes`, does."""
    start = ["python"] if processes == 1 else ["torchrun", "--standalone", f"--nproc_per_node={processes}"]
    return shell_line([*start, "-m", "monai.bundle", *words])


def run_here(words: Sequence[str]) -> None:
    """Run it in this process; options are read as ``monai.bundle`` reads its own."""
    import fire
    from monai import bundle

    command, *arguments = words
    fire.Fire({"run": bundle.run}, command=[command, *arguments], name="monai.bundle")


def run_in_processes(words: Sequence[str], processes: int) -> int:
    """Run it by ``torchrun``; returns its exit status."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return subprocess.run([*launch, "-m", "monai.bundle", *words]).returncode


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word) and not word.startswith("["):
        return word
    return shlex.quote(word) if _SPECIAL_IN_QUOTES.search(word) else f'"{word}"'
