# SPDX-License-Identifier: Apache-2.0
"""Volumes of many subjects, computed by several processes and written as NIfTI files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from monai_diffae.support.freed_memory import keep_freed_memory, kept_freed_memory

__all__ = ["each_subject", "write_volume"]

_Result = TypeVar("_Result")

_FEW = 12  # volumes in the time that a process takes to start


def each_subject(
    do: Callable[[SubjectFactors], _Result], subjects: Sequence[SubjectFactors], num_workers: int | None, title: str
) -> list[_Result]:
    """What ``do`` returns for each subject, with a bar.

    Args:
        do: what processes can be sent.
        subjects: each is given to it.
        num_workers: processes; 0 for none but this one. ``None``: one a core, or for a few subjects none.
        title: of the bar.
    """
    if num_workers is None and len(subjects) <= _FEW:
        num_workers = 0

    def with_bar(results: Iterable[_Result]) -> list[_Result]:
        return list(tqdm(results, desc=title, unit="volume", total=len(subjects)))

    if num_workers == 0:
        with kept_freed_memory():
            return with_bar(map(do, subjects))
    # Spawned, not forked: a fork of a process that has used torch's threads can hang.
    with ProcessPoolExecutor(num_workers, get_context("spawn"), _start_worker) as pool:
        return with_bar(pool.map(do, subjects))


def _start_worker() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()


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
