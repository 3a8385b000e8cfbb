# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["add_few_labels"]


def add_few_labels(
    data: Sequence[Mapping[str, Any]], labels_file: str | os.PathLike, attribute: str = "label"
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split a MONAI data list by a table that labels few of its files.

    Args:
        data: as of :func:`~monai_diffae.data.find_images`.
        labels_file: CSV with a column ``file``, paths absolute or relative to the CSV's folder, and a column of labels:
            1, 0, or empty for a file that is not labelled. Files that the table does not name are not labelled either.
        attribute: the column of labels.

    Returns:
        The labelled items of ``data`` with a float ``label`` of 1 or 0, and the others with NaN.

    Raises:
        ValueError: for a missing column, another label, or a file that is not in ``data``.
    """
    folder = Path(labels_file).resolve().parent
    labels: dict[Path, float] = {}
    files = {Path(item["image"]).resolve() for item in data}
    with open(labels_file, newline="", encoding="utf-8-sig") as f:
        table = csv.DictReader(f)
        missing = [name for name in ("file", attribute) if name not in (table.fieldnames or [])]
        if missing:
            raise ValueError(f"{labels_file} has no column {', '.join(missing)}; it has {table.fieldnames}.")
        for row in table:
            text = (row[attribute] or "").strip()
            path = (folder / row["file"]).resolve()
            try:
                label = float(text) if text else math.nan
            except ValueError:
                label = None
            if label is None or not (label in (0, 1) or not text):
                raise ValueError(
                    f"{labels_file}, row of {row['file']}: {attribute} must be 1, 0 or empty (not labelled), "
                    f"got {text!r}."
                )
            if text and path not in files:
                raise ValueError(
                    f"{labels_file} labels {row['file']}, which is not in dataset_dir; paths in the table are "
                    f"relative to {folder}."
                )
            labels[path] = label
    items = [{**item, "label": labels.get(Path(item["image"]).resolve(), math.nan)} for item in data]
    return [i for i in items if not math.isnan(i["label"])], [i for i in items if math.isnan(i["label"])]
