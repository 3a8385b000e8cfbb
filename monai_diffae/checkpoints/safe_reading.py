# SPDX-License-Identifier: Apache-2.0
"""Reads the dictionary of a ``torch.save`` file without running, or importing, anything that the file names."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

__all__ = ["read_checkpoint"]

# PyTorch Lightning writes its own classes into checkpoints (as keys of "callbacks", say); weights never need them.
_INERT_PACKAGES = ("pytorch_lightning", "lightning", "lightning_fabric")


def _inert(name: str) -> type:
    """A class that stands for the class ``name``, holds what the file puts into it, and does nothing."""
    if name.endswith("AttributeDict"):
        return OrderedDict
    return type(name, (), {"__init__": lambda self, *args, **kwargs: None})


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """The dictionary that ``torch.save`` has written to ``path``; its tensors are mapped from the file, not read.

    Classes of PyTorch Lightning are replaced by inert ones. The library need not be installed.

    Raises:
        ValueError: for a file that is missing, truncated or of another format, that holds something else than a
            dictionary, or that refers to code: to any class or function beyond what weights need.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {os.fspath(path)!r}.")
    size = f"{path.stat().st_size:,} bytes"
    try:
        names = get_unsafe_globals_in_checkpoint(path)
    except UnpicklingError as error:
        raise ValueError(
            f"{os.fspath(path)!r} is refused: its pickle holds instructions that tensors, numbers and strings saved by "
            f"torch.save do not need. Nothing of it has run. {_first_line(error)}"
        ) from error
    except (ValueError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(
            f"{os.fspath(path)!r} ({size}) cannot be read: it is truncated, or not a file of torch.save (PyTorch 1.6 "
            f"or newer). {_first_line(error)}"
        ) from error
    foreign = sorted(name for name in names if name.split(".")[0] not in _INERT_PACKAGES)
    if foreign:
        raise ValueError(
            f"{os.fspath(path)!r} is refused: it is a pickle that refers to {', '.join(foreign)}, so loading it would "
            "run code from the file. Nothing of it has run. A checkpoint needs tensors, numbers and strings only; save "
            "it again without these objects, where you trust it."
        )
    try:
        with safe_globals([(_inert(name), name) for name in names]):
            content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes the reader raise
        raise ValueError(
            f"{os.fspath(path)!r} ({size}) cannot be read: it is damaged, or it holds more than tensors, numbers and "
            f"strings; no code of it has run. {_first_line(error)}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{os.fspath(path)!r} holds a {type(content).__name__}, expected a dictionary.")
    return content


def _first_line(error: Exception) -> str:
    return f"({type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]})"
