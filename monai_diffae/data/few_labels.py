# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from monai_diffae.data.label_tables import read_label_table, with_table_subjects
from monai_diffae.support.randomness import derive_seed
from monai_diffae.support.words import names_in

__all__ = ["few_shot_data"]


def few_shot_data(
    data: Sequence[Mapping[str, Any]],
    labels_file: str | os.PathLike,
    column: str = "label",
    max_unlabelled: int = 1000,
    seed: int = 0,
    dataset_dir: str | os.PathLike | None = None,
) -> list[dict[str, Any]]:
    """The files of a data list that a classifier of few labels learns from: the labelled ones, and some of the others.

    Args:
        data: as of :func:`~monai_diffae.data.find_images`.
        labels_file: CSV with a column ``file`` (or ``image``), paths absolute or relative to the CSV's folder, or else
            to ``dataset_dir``, and a column of labels: 1, 0, or empty for a file that is not labelled. Files that the
            table does not name are not labelled either. A column ``subject`` says which files belong together.
        column: of the labels.
        max_unlabelled: so many of the files without a label are drawn; 0 for none.
        seed: of the draw.
        dataset_dir: see ``labels_file``; ``None`` for none.

    Returns:
        Items of ``data`` in their order with ``label``: 1.0, 0.0, or NaN for an unlabelled one.

    Raises:
        ValueError: for a missing table or column, a file with two rows, another label, or a labelled file that is not
            in ``data``.
    """
    if len(names_in(column)) != 1:
        raise ValueError(f"Expected the name of a column of labels_file {os.fspath(labels_file)!r}, got {column}.")
    (column,) = names_in(column)
    rows = read_label_table(labels_file, [column], data, dataset_dir)
    for row in rows.values():
        if row.labels[column] not in (0, 1) and not math.isnan(row.labels[column]):
            raise ValueError(
                f"{labels_file}, line {row.line} ({row.file}): {column} must be 1, 0 or empty (not labelled), got "
                f"{row.labels[column]:g}."
            )
    labels = {path: row.labels[column] for path, row in rows.items() if not math.isnan(row.labels[column])}
    items = [
        item | {"label": labels.get(Path(item["image"]).resolve(), math.nan)}
        for item in with_table_subjects(data, rows)
    ]
    lost = set(labels) - {Path(item["image"]).resolve() for item in data}
    if lost:
        raise ValueError(
            f"{labels_file} labels {len(lost)} files that are not in the data, {min(lost)} for one; paths in the "
            "table are absolute, or relative to its folder or to dataset_dir."
        )
    unlabelled = [i for i, item in enumerate(items) if math.isnan(item["label"])]
    order = torch.randperm(len(unlabelled), generator=torch.Generator().manual_seed(derive_seed(seed)))
    left_out = {unlabelled[k] for k in order[max_unlabelled:].tolist()}
    return [item for i, item in enumerate(items) if i not in left_out]
