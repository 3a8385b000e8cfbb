# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["find_labels_file", "label_columns"]

_PLACES = ("file", "image", "subject")


def find_labels_file(labels_file: str | os.PathLike | None, dataset_dir: str | os.PathLike | None) -> str | None:
    """The table of labels: the one that is named, or ``labels.csv`` of the folder if it has one, or None.

    Raises:
        ValueError: if one is named that does not exist.
    """
    if labels_file is not None:
        if not os.path.isfile(labels_file):
            raise ValueError(f"There is no labels_file {os.fspath(labels_file)!r}; give a CSV with a column file.")
        return os.fspath(labels_file)
    beside = None if dataset_dir is None else Path(dataset_dir) / "labels.csv"
    return str(beside) if beside is not None and beside.is_file() else None


def label_columns(labels_file: str | os.PathLike | None, wanted: Sequence[str] | None = None) -> list[str]:
    """Columns of a table of labels that hold numbers: all but ``file``, ``image`` and ``subject`` whose cells are
    finite numbers or empty, with at least one number.

    Args:
        labels_file: CSV; ``None`` for none.
        wanted: names to keep, in this order; those that the table lacks are left out. ``None`` for all.
    """
    if labels_file is None:
        return []
    with open(labels_file, newline="", encoding="utf-8-sig") as f:
        table = csv.DictReader(f)
        names = [name for name in table.fieldnames or [] if name not in _PLACES]
        filled = dict.fromkeys(names, False)
        for row in table:
            for name in list(filled):
                cell = (row[name] or "").strip()
                if cell and not _is_number(cell):
                    del filled[name]
                elif cell:
                    filled[name] = True
    found = [name for name, has_number in filled.items() if has_number]
    return found if wanted is None else [name for name in wanted if name in found]


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) < float("inf")
    except ValueError:
        return False
