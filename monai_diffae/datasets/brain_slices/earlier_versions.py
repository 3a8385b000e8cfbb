# SPDX-License-Identifier: Apache-2.0
"""Data sets that the generator wrote before it wrote masks of the ventricles."""

from __future__ import annotations

import csv
import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_diffae.datasets.brain_slices.subjects import SubjectFactors, draw_factors, render_ventricles
from monai_diffae.datasets.brain_slices.writing import each_subject, write_volume
from monai_diffae.datasets.generated import write_labels

__all__ = ["add_missing_ventricles"]

_DRAWN = ("ventricle_enlargement_mm", "head_scale", "contrast")


def add_missing_ventricles(dataset_dir: str | os.PathLike, seed: int = 0, num_workers: int | None = None) -> None:
    """Write ``ventricles/`` and its column of ``labels.csv`` where an earlier version did not; the rest stays.

    A data set that is not the generator's with this seed, or has them already, is left alone.

    Args:
        dataset_dir: with ``labels.csv``, which is replaced last.
        seed: that the data set was made with.
        num_workers: processes, 0 for none but this one; ``None`` for one a core, or for a few subjects none.
    """
    labels_file = Path(dataset_dir) / "labels.csv"
    with open(labels_file, newline="") as f:
        rows = list(csv.DictReader(f))
    if not rows or "ventricle_mask" in rows[0] or not {"subject", "lesion_mask", *_DRAWN} <= set(rows[0]):
        return
    subjects = [_drawn_as(row, seed) for row in rows]
    if None in subjects:
        return
    write = functools.partial(_write_ventricles, labels_file.parent)
    each_subject(write, [factors for factors in subjects if factors], num_workers, "ventricles")
    write_labels(labels_file, [_with_mask(row) for row in rows])


def _drawn_as(row: Mapping[str, str], seed: int) -> SubjectFactors | None:
    """The factors of a row if they are those of ``seed``."""
    index = re.fullmatch(r"sub-(\d+)", row["subject"])
    if index is None:
        return None
    factors = draw_factors(seed, int(index[1]))  # the share of lesions changes nothing of the ventricles
    same = all(abs(float(row[name]) - getattr(factors, name)) < 1e-4 for name in _DRAWN)
    return factors if same else None


def _with_mask(row: Mapping[str, str]) -> dict[str, str]:
    """The row with its mask, in the column where the generator has it."""
    cells = list(row.items())
    place = list(row).index("lesion_mask") + 1
    return dict([*cells[:place], ("ventricle_mask", f"ventricles/{row['subject']}.nii.gz"), *cells[place:]])


def _write_ventricles(dataset_dir: Path, factors: SubjectFactors) -> None:
    name = f"{factors.subject}.nii.gz"
    spacing = float(nib.load(dataset_dir / "images" / name).header.get_zooms()[0])
    write_volume(dataset_dir / "ventricles", name, render_ventricles(factors, spacing), np.uint8)
