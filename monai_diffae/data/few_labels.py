# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from monai_diffae.randomness import derive_seed

__all__ = ["few_shot_data"]


def _read_labels(labels_file: str | os.PathLike, column: str) -> dict[Path, float]:
    """Label of each file of the table that has one."""
    folder = Path(labels_file).resolve().parent
    labels: dict[Path, float] = {}
    with open(labels_file, newline="", encoding="utf-8-sig") as f:
        table = csv.DictReader(f)
        missing = [name for name in ("file", column) if name not in (table.fieldnames or [])]
        if missing:
            raise ValueError(f"{labels_file} has no column {', '.join(missing)}; it has {table.fieldnames}.")
        for row in table:
            text = (row[column] or "").strip()
            if text in ("0", "1", "0.0", "1.0"):
                labels[(folder / row["file"]).resolve()] = float(text)
            elif text:
                raise ValueError(
                    f"{labels_file}, row of {row['file']}: {column} must be 1, 0 or empty (not labelled), got {text!r}."
                )
    return labels


def few_shot_data(
    data: Sequence[Mapping[str, Any]],
    labels_file: str | os.PathLike,
    column: str = "label",
    max_unlabelled: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The files of a data list that a classifier of few labels learns from: the labelled ones, and some of the others.

    Args:
        data: as of :func:`~monai_diffae.data.find_images`.
        labels_file: CSV with a column ``file``, paths absolute or relative to the CSV's folder, and a column of labels:
            1, 0, or empty for a file that is not labelled. Files that the table does not name are not labelled either.
        column: of the labels.
        max_unlabelled: so many of the files without a label are drawn; 0 for none.
        seed: of the draw.

    Returns:
        Items of ``data`` in their order with ``label``: 1.0, 0.0, or NaN for an unlabelled one.

    Raises:
        ValueError: for a missing column, another label, or a labelled file that is not in ``data``.
    """
    labels = _read_labels(labels_file, column)
    items = [{**item, "label": labels.get(Path(item["image"]).resolve(), math.nan)} for item in data]
    lost = set(labels) - {Path(item["image"]).resolve() for item in data}
    if lost:
        raise ValueError(
            f"{labels_file} labels {len(lost)} files that are not in dataset_dir, {min(lost)} for one; paths in the "
            "table are absolute or relative to its folder."
        )
    unlabelled = [i for i, item in enumerate(items) if math.isnan(item["label"])]
    order = torch.randperm(len(unlabelled), generator=torch.Generator().manual_seed(derive_seed(seed)))
    left_out = {unlabelled[k] for k in order[max_unlabelled:].tolist()}
    return [item for i, item in enumerate(items) if i not in left_out]
