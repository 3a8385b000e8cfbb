# SPDX-License-Identifier: Apache-2.0
"""The committed split of the hippocampi: lists of subjects."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from monai_diffae.datasets.number_ranges import unpack_numbers

__all__ = ["SPLITS", "draw_split", "listed_subjects", "subject_of"]

SPLITS = ("train", "val", "test")
_SHARES = {"val": 0.1, "test": 0.2}


def subject_of(file: str | Path) -> int:
    """The person that a file ``hippocampus_<number>.nii.gz`` is of: ``(number + 1) // 2``.

    Numbers 2k - 1 and 2k are almost surely the two sides of one person: their intensities have one scale and their
    volumes correlate at 0.92. The source does not say it.

    Raises:
        ValueError: for another name.
    """
    match = re.fullmatch(r"hippocampus_(\d+)\.nii(\.gz)?", Path(file).name)
    if match is None:
        raise ValueError(f"Expected a file named hippocampus_<number>.nii.gz, got {Path(file).name!r}.")
    return (int(match[1]) + 1) // 2


@functools.lru_cache(maxsize=len(SPLITS))
def listed_subjects(split: str) -> frozenset[int]:
    """Subjects of ``lists/<split>.txt``.

    Raises:
        ValueError: for a split other than ``train``, ``val`` and ``test``.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    return frozenset(unpack_numbers((Path(__file__).parent / "lists" / f"{split}.txt").read_text()))


def draw_split(subjects: Iterable[int], seed: int = 0) -> dict[str, list[int]]:
    """Draw the lists anew; the committed ones are those of the subjects in ``../shared/data`` and seed 0."""
    order = np.random.default_rng(seed).permutation(sorted(set(subjects))).tolist()
    num_val, num_test = (round(_SHARES[split] * len(order)) for split in ("val", "test"))
    parts = {
        "test": order[:num_test],
        "val": order[num_test : num_test + num_val],
        "train": order[num_test + num_val :],
    }
    return {split: sorted(parts[split]) for split in SPLITS}
