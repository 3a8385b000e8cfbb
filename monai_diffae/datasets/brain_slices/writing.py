# SPDX-License-Identifier: Apache-2.0
"""Volumes of many subjects, computed by several processes and written as NIfTI files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
from monai.data import MetaTensor
from monai.transforms import SaveImage
from numpy.typing import DTypeLike
from tqdm import tqdm

from monai_diffae.datasets.brain_slices.subjects import SubjectFactors

__all__ = ["each_subject", "write_volume"]

_Result = TypeVar("_Result")

# Of glibc, read when a worker starts. Left to itself, it returns each volume to the system and spends two thirds of the
# time on getting fresh pages.
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36), "MALLOC_TOP_PAD_": str(2**29)}


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables for processes that start within; what the user has set stays."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def each_subject(
    do: Callable[[SubjectFactors], _Result], subjects: Sequence[SubjectFactors], num_workers: int | None, title: str
) -> list[_Result]:
    """What ``do`` (which processes can be sent) returns for each subject, with a bar; a process each core if None."""
    # Spawned, not forked: a fork of a process that has used torch's threads can hang.
    with (
        _environment(_KEEP_FREED_MEMORY),
        ProcessPoolExecutor(num_workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool,
    ):
        return list(tqdm(pool.map(do, subjects), desc=title, unit="volume", total=len(subjects)))


def write_volume(folder: Path, name: str, volume: MetaTensor, dtype: DTypeLike) -> None:
    """Write ``(1, X, Y, Z)`` as ``folder/name``, in the space of its affine."""
    volume.meta["filename_or_obj"] = name
    SaveImage(
        output_dir=folder,
        output_postfix="",
        output_dtype=dtype,
        resample=False,
        separate_folder=False,
        print_log=False,
    )(volume)
