# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import functools
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monai_diffae.datasets.brain_slices.lesions import LESIONS
from monai_diffae.datasets.brain_slices.subjects import (
    INTENSITY_SCALE,
    SubjectFactors,
    draw_factors,
    render_subject,
    render_ventricles,
)
from monai_diffae.datasets.brain_slices.writing import each_subject, write_volume
from monai_diffae.datasets.generated import ensure_data_set, labels_file_of_new, write_labels

__all__ = ["ensure_brain_slices", "generate_brain_slices", "main", "write_brain_slices"]


def _write_subject(output_dir: Path, factors: SubjectFactors, spacing: float) -> dict[str, object]:
    """Write the three volumes of a subject and return its row of ``labels.csv``."""
    image, lesion = render_subject(factors, spacing)
    ventricles = render_ventricles(factors, spacing)
    name = f"{factors.subject}.nii.gz"
    stored = (image * INTENSITY_SCALE).round().clamp(0, 65535)
    write_volume(output_dir / "images", name, stored, np.uint16)
    write_volume(output_dir / "lesions", name, lesion, np.uint8)
    write_volume(output_dir / "ventricles", name, ventricles, np.uint8)
    side = "none" if not factors.lesion else "right" if factors.lesion_center[0] > 0 else "left"
    return {
        "file": f"images/{name}",
        "subject": factors.subject,
        "lesion_mask": f"lesions/{name}",
        "ventricle_mask": f"ventricles/{name}",
        "lesion": int(factors.lesion),
        "lesion_volume_ml": round(float(lesion.sum()) * spacing**3 / 1000, 3),
        "lesion_side": side,
        "lesion_shape": factors.lesion_shape if factors.lesion else "none",
        "lesion_brighter": int((factors.lesion_intensity or 0) > 0.9) if factors.lesion else None,  # than all tissue
        # Against no lesion, so that a direction towards a lesion on the left is not one away from the right.
        "lesion_left": {"left": 1, "none": 0}.get(side),
        "lesion_right": {"right": 1, "none": 0}.get(side),
        "ventricle_enlargement_mm": round(factors.ventricle_enlargement_mm, 4),
        "head_scale": round(factors.head_scale, 5),
        "contrast": round(factors.contrast, 5),
    }


def generate_brain_slices(
    output_dir: str | os.PathLike,
    num_subjects: int,
    seed: int = 0,
    lesion_fraction: float = 0.5,
    spacing: float = 2.0,
    num_workers: int | None = None,
    lesions: str = "varied",
) -> Path:
    """Write a data set of ``num_subjects`` volumes; see the package's docstring for what it holds.

    A volume depends on (seed, its index) only, so a larger data set continues a smaller one.

    Args:
        output_dir: a folder that does not exist yet or holds no ``labels.csv``.
        num_subjects: number of volumes, about two seconds of one core each.
        seed: of the whole data set.
        lesion_fraction: expected share of subjects with a lesion, in [0, 1].
        spacing: voxel size in mm, the same in all directions.
        num_workers: processes, 0 for none but this one; ``None`` for one a core, or for a few subjects none.
        lesions: ``varied`` or ``balls``, see :func:`draw_factors`.

    Returns:
        Path of ``labels.csv``, written last: where it exists, the data set is complete.

    Raises:
        ValueError: for numbers out of range and other lesions.
        FileExistsError: if ``output_dir`` holds a data set already.
    """
    if num_subjects < 1 or not 0 <= lesion_fraction <= 1 or not 0.5 <= spacing <= 4:
        raise ValueError(
            "Expected num_subjects of 1 or more, lesion_fraction in [0, 1] and spacing in [0.5, 4] mm; "
            f"got {num_subjects}, {lesion_fraction} and {spacing}."
        )
    labels_file_of_new(output_dir)  # before anything is drawn
    factors = [draw_factors(seed, index, lesion_fraction, lesions) for index in range(num_subjects)]
    return write_brain_slices(output_dir, factors, spacing, num_workers)


def write_brain_slices(
    output_dir: str | os.PathLike,
    subjects: Sequence[SubjectFactors],
    spacing: float = 2.0,
    num_workers: int | None = None,
) -> Path:
    """Write a data set of given subjects: one subject with and without its lesion, say.

    A volume depends on its factors only; those of :func:`draw_factors` give the volumes of
    :func:`generate_brain_slices`.

    Args:
        output_dir: a folder that does not exist yet or holds no ``labels.csv``.
        subjects: what to render, each under its own name (``dataclasses.replace`` makes variants of one).
        spacing: voxel size in mm, the same in all directions.
        num_workers: processes, 0 for none but this one; ``None`` for one a core, or for a few subjects none.

    Returns:
        Path of ``labels.csv``, written last: where it exists, the data set is complete.

    Raises:
        ValueError: without subjects, or if two have the same name.
        FileExistsError: if ``output_dir`` holds a data set already.
    """
    names = Counter(factors.subject for factors in subjects)
    if not names or max(names.values()) > 1:
        raise ValueError(
            f"Expected subjects with different names, of which the files are named; got {len(subjects)} subjects, more "
            f"than one of {[name for name, count in names.items() if count > 1]}."
        )
    labels_file = labels_file_of_new(output_dir)
    write = functools.partial(_write_subject, labels_file.parent, spacing=spacing)
    rows = each_subject(write, subjects, num_workers, "brain volumes")
    write_labels(labels_file, rows)
    return labels_file


def ensure_brain_slices(dataset_dir: str | os.PathLike, default_dir: str | os.PathLike, **generator_args) -> str:
    """As :func:`~monai_diffae.datasets.ensure_data_set`, by :func:`generate_brain_slices`."""
    return ensure_data_set(dataset_dir, default_dir, generate_brain_slices, **generator_args)


def main() -> None:
    """Command line of :func:`generate_brain_slices`."""
    parser = argparse.ArgumentParser(description="Write a labelled brain-MRI data set made from the MNI152 template.")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--num_subjects", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lesion_fraction", type=float, default=0.5)
    parser.add_argument(
        "--lesions",
        choices=LESIONS,
        default="varied",
        help="varied: several shapes, sizes, places, darker and brighter; balls: dark ones beside the ventricles",
    )
    parser.add_argument("--spacing", type=float, default=2.0, help="voxel size in mm")
    parser.add_argument(
        "--num_workers",
        type=int,
        default=None,
        help="processes; by default one a core, or none but this one for a few volumes",
    )
    print(generate_brain_slices(**vars(parser.parse_args())))
