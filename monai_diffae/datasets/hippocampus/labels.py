# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from monai_diffae.datasets.generated import write_labels

__all__ = ["ANTERIOR", "POSTERIOR", "measure_hippocampus", "write_hippocampus_labels"]

ANTERIOR, POSTERIOR = 1, 2  # in the masks


def measure_hippocampus(mask: np.ndarray, voxel_volume: float) -> dict[str, float]:
    """``volume_ml`` of both parts together and ``anterior_share``, of the anterior part in it.

    Args:
        mask: whole numbers, 1 anterior and 2 posterior part.
        voxel_volume: mm^3.

    Raises:
        ValueError: for a mask without any of the two.
    """
    anterior, posterior = (int((mask == part).sum()) for part in (ANTERIOR, POSTERIOR))
    if not anterior + posterior:
        raise ValueError("The mask holds no hippocampus (1 anterior, 2 posterior part).")
    return {
        "volume_ml": (anterior + posterior) * voxel_volume / 1000,
        "anterior_share": anterior / (anterior + posterior),
    }


def write_hippocampus_labels(
    data: Sequence[Mapping[str, Any]], dataset_dir: str | os.PathLike, labels_file: str | os.PathLike
) -> str:
    """Write a table of labels: ``file`` (from ``dataset_dir``), ``subject``, ``volume_ml``, ``anterior_share``, and
    ``crop_x``, ``crop_y``, ``crop_z``: voxels of the volume along its axes.

    The volumes were cropped around the masks: the size of a crop tells much of the hippocampus' (R^2 of 0.34), without
    a look at the image. What is said to come from the image has to be compared with it.

    Args:
        data: as of :func:`find_hippocampus`.
        dataset_dir: that ``data`` was found in.
        labels_file: CSV, replaced if it exists.

    Returns:
        ``labels_file``.

    Raises:
        ValueError: for an empty mask.
    """
    rows = []
    for item in data:
        mask = nibabel.load(item["mask"])
        try:
            measures = measure_hippocampus(np.asarray(mask.dataobj), float(np.prod(mask.header.get_zooms()[:3])))
        except ValueError as error:
            raise ValueError(f"{item['mask']}: {error}") from None
        rows.append(
            {"file": Path(os.path.relpath(item["image"], dataset_dir)).as_posix(), "subject": item["subject"]}
            | {name: round(value, 4) for name, value in measures.items()}
            | dict(zip(("crop_x", "crop_y", "crop_z"), mask.shape, strict=True))
        )
    Path(labels_file).parent.mkdir(parents=True, exist_ok=True)
    write_labels(Path(labels_file), rows)
    return os.fspath(labels_file)
