# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from monai_diffae.data.table_reading import Table, read_table
from monai_diffae.support.words import names_in

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


def label_columns(labels_file: str | os.PathLike | None, wanted: str | Sequence[str] | None = None) -> list[str]:
    """Columns of a table of labels that hold numbers: all but ``file``, ``image`` and ``subject`` whose cells are
    finite numbers or empty, with at least one number.

    Args:
        labels_file: CSV; ``None`` for none.
        wanted: names to keep, in this order; those that the table lacks are left out. ``None`` for all.

    Raises:
        ValueError: for what :func:`~monai_diffae.data.table_reading.read_table` refuses.
    """
    if labels_file is None:
        return []
    table = read_table(labels_file)
    found = [name for name in table.columns if name not in _PLACES and _holds_numbers(table, name)]
    return found if wanted is None else [name for name in names_in(wanted) if name in found]


def _holds_numbers(table: Table, name: str) -> bool:
    try:
        return not all(math.isnan(value) for value in table.numbers(name))
    except ValueError:
        return False
