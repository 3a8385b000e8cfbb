# SPDX-License-Identifier: Apache-2.0
"""Tables that say something about files: a row a file."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["read_label_table"]


def read_label_table(
    labels_file: str | os.PathLike,
    columns: Sequence[str],
    data: Sequence[Mapping[str, Any]],
    dataset_dir: str | os.PathLike | None = None,
) -> dict[Path, dict[str, str | None]]:
    """The rows of a table of labels by the file that they are about.

    Args:
        labels_file: CSV with a column ``file`` (or ``image``, as in data lists). Paths are absolute or relative to the
            CSV's folder, or else to ``dataset_dir``.
        columns: that it must have.
        data: data list whose images tell which of the two folders is meant.
        dataset_dir: the other folder; ``None`` for none.

    Returns:
        From resolved path to row, with the cell of the file under ``file``.

    Raises:
        ValueError: for a missing file or column, a column that is no name, or two different rows about one file.
    """
    for column in columns:
        if not isinstance(column, str):
            raise ValueError(f"Expected the name of a column of labels_file {os.fspath(labels_file)!r}, got {column}.")
    if not os.path.isfile(labels_file):
        raise ValueError(f"There is no labels_file {os.fspath(labels_file)!r}; give a CSV with a column file.")
    folders = [Path(labels_file).resolve().parent, *([] if dataset_dir is None else [Path(dataset_dir).resolve()])]
    known = {Path(item["image"]).resolve() for item in data}
    rows: dict[Path, dict[str, str | None]] = {}
    with open(labels_file, newline="", encoding="utf-8-sig") as f:
        table = csv.DictReader(f)
        names = table.fieldnames or []
        file_column = "image" if "file" not in names and "image" in names else "file"
        missing = [name for name in (file_column, *columns) if name not in names]
        if missing:
            raise ValueError(f"{labels_file} has no column {', '.join(missing)}; it has {table.fieldnames}.")
        for row in table:
            paths = [(folder / row[file_column]).resolve() for folder in folders]
            path = next((path for path in paths if path in known), paths[0])
            row["file"] = row[file_column]
            if any(rows.get(path, row)[name] != row[name] for name in columns):
                raise ValueError(f"{labels_file} has two rows for {path} that differ.")
            rows[path] = row
    return rows
