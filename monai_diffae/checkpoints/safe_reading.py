# SPDX-License-Identifier: Apache-2.0
"""Reads the dictionary of a ``torch.save`` file without running, or importing, anything that the file names."""

from __future__ import annotations

import io
import os
import pickletools
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

__all__ = ["read_checkpoint"]

# What torch.save writes for tensors.
_OF_TENSORS = re.compile(r"torch\.(\w+Storage|_utils\._rebuild_(tensor_v2|parameter))|collections\.OrderedDict")
# PyTorch Lightning writes classes of its own into checkpoints (as keys of "callbacks", say); weights never need them.
_INERT_CLASS = re.compile(r"(pytorch_lightning|lightning|lightning_fabric)(\.[a-z_]\w*)*\.[A-Z]\w*")


def _inert(name: str) -> type:
    """A class that stands for the class ``name``, holds what the file puts into it, and does nothing."""
    if name.endswith("AttributeDict"):
        return OrderedDict
    return type(name, (), {"__init__": lambda self, *args, **kwargs: None})


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """The dictionary that ``torch.save`` has written to ``path``; its tensors are mapped from the file, not read.

    Classes of PyTorch Lightning are replaced by inert ones. The library need not be installed.

    Raises:
        ValueError: for a file that is missing, truncated, damaged or of another format, that holds something else than
            a dictionary, or that refers to code: to any class or function beyond what weights need.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {os.fspath(path)!r}.")
    name = f"{os.fspath(path)!r} ({path.stat().st_size:,} bytes)"
    stored = _check_archive(path, name)
    try:
        found = get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # of an archive without a pickle, or with one that torch.save does not write
        _refuse_code(name, _globals_of(_pickle_of(path)))
        raise ValueError(
            f"{name} cannot be read: it is no file of torch.save in its default format (pickle protocol 2). "
            f"({type(error).__name__}: {error})"
        ) from error
    _refuse_code(name, found)
    try:
        with safe_globals([(_inert(found_name), found_name) for found_name in found]):
            content = torch.load(path, map_location="cpu", mmap=stored, weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes the reader raise
        # The first lines of PyTorch's message advise to load without weights_only, which would run code.
        reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"{name} cannot be read: it is damaged, or it holds more than tensors, numbers and strings; no code of it "
            f"has run. ({reason[0][:300]})"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} holds a {type(content).__name__}, expected a dictionary.")
    return content


def _check_archive(path: Path, name: str) -> bool:
    """Whether the entries are stored as they are, so that they can be mapped; ValueError unless it is a sound zip."""
    if not zipfile.is_zipfile(path):
        _refuse_code(name, _globals_of(path.read_bytes()))
        raise ValueError(f"{name} cannot be read: it is truncated, or not a file of torch.save (PyTorch 1.6 or newer).")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    except Exception as error:  # zipfile has many names for it
        raise ValueError(f"{name} cannot be read: it is damaged. ({type(error).__name__}: {error})") from error
    if damaged is not None:
        raise ValueError(f"{name} cannot be read: it is damaged; the checksum of {damaged} in it is another.")
    return stored


def _pickle_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(entry) for entry in archive.namelist() if entry.endswith("data.pkl"))


def _globals_of(pickled: bytes) -> list[str]:
    """Classes and functions beyond tensors that pickles of any protocol name, up to where they end or break.

    PyTorch's format before 1.6 is a row of five: a magic number, a version, the machine, the object, the storages.
    """
    names: list[str] = []
    strings: list[str] = []
    stream = io.BytesIO(pickled)
    try:
        for _ in range(5):
            for opcode, argument, _position in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    names.append(str(argument).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    names.append(".".join(strings[-2:]))
                elif isinstance(argument, str):
                    strings.append(argument)
    except ValueError:  # no pickle, from here on
        pass
    return [name for name in names if not _OF_TENSORS.fullmatch(name)]


def _refuse_code(name: str, found: list[str]) -> None:
    foreign = sorted({n for n in found if not _INERT_CLASS.fullmatch(n)})
    if foreign:
        raise ValueError(
            f"{name} is refused: it is a pickle that refers to {', '.join(foreign[:5])}; to load that would import or "
            "run code. Nothing of it has run. A checkpoint needs tensors, numbers and strings only; where you trust "
            "the file, save it again without these objects."
        )
