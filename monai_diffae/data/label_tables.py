# SPDX-License-Identifier: Apache-2.0
"""Tables that say something about files: a row a file."""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monai_diffae.data.table_reading import read_table

__all__ = ["LabelRow", "read_label_table", "with_table_subjects"]


class LabelRow(NamedTuple):
    """What a table says about a file.

    Args:
        file: as the table spells it.
        line: of the table.
        labels: numbers by column, NaN where not known.
        subject: that the file is of, empty where the table has no such column.
    """

    file: str
    line: int
    labels: dict[str, float]
    subject: str


def read_label_table(
    labels_file: str | os.PathLike,
    columns: Sequence[str],
    data: Sequence[Mapping[str, Any]],
    dataset_dir: str | os.PathLike | None = None,
) -> dict[Path, LabelRow]:
    """The rows of a table of labels by the file that they are about.

    Args:
        labels_file: CSV as :func:`~monai_diffae.data.table_reading.read_table` takes it, with a column ``file`` (or
            ``image``, as in data lists). Paths are absolute or relative to the CSV's folder, or else to
            ``dataset_dir``.
        columns: of numbers, that it must have.
        data: data list whose images tell which of the two folders is meant.
        dataset_dir: the other folder; ``None`` for none.

    Returns:
        From resolved path to row.

    Raises:
        ValueError: for a missing file or column, a row without a file, a cell that is no number, or two different rows
            about one file, and for what ``read_table`` refuses.
    """
    if not os.path.isfile(labels_file):
        raise ValueError(f"There is no labels_file {os.fspath(labels_file)!r}; give a CSV with a column file.")
    table = read_table(labels_file)
    file_column = "image" if "file" not in table.columns and "image" in table.columns else "file"
    missing = [name for name in (file_column, *columns) if name not in table.columns]
    if missing:
        raise ValueError(f"{labels_file} has no column {', '.join(missing)}; it has {', '.join(table.columns)}.")
    folders = [Path(labels_file).resolve().parent, *([] if dataset_dir is None else [Path(dataset_dir).resolve()])]
    known = {_spelling(path): path for path in (Path(item["image"]).resolve() for item in data)}
    numbers = {name: table.numbers(name) for name in columns}
    rows: dict[Path, LabelRow] = {}
    for k, (cells, line) in enumerate(zip(table.rows, table.lines)):
        if not cells[file_column].strip():
            raise ValueError(f"{labels_file}, line {line}: there is no {file_column} in the row.")
        path = _path(cells[file_column], folders, known)
        row = LabelRow(
            cells[file_column],
            line,
            {name: values[k] for name, values in numbers.items()},
            cells.get("subject", "").strip(),
        )
        other = rows.setdefault(path, row)
        if other.subject != row.subject or not all(_equal(other.labels[name], row.labels[name]) for name in columns):
            raise ValueError(
                f"{labels_file} has two rows for {path} that differ, in the lines {other.line} and {line}."
            )
    return rows


def with_table_subjects(items: Sequence[Mapping[str, Any]], rows: Mapping[Path, LabelRow]) -> list[dict[str, Any]]:
    """The items, with the subjects of their rows where the table names some; one without a subject is its own."""
    named = []
    for item in items:
        row = rows.get(Path(item["image"]).resolve())
        named.append({**item, "subject": row.subject} if row is not None and row.subject else dict(item))
    if any("subject" in item for item in named):  # batches need it in all
        named = [{"subject": str(item["image"])} | item for item in named]
    return named


def _path(cell: str, folders: Sequence[Path], known: Mapping[str, Path]) -> Path:
    """The file that is meant, which need not be known."""
    paths = [(folder / name).resolve() for name in (cell, cell.strip().replace("\\", "/")) for folder in folders]
    return next((known[_spelling(path)] for path in paths if _spelling(path) in known), paths[0])


def _spelling(path: Path) -> str:
    """One for letters with accents, which some systems write as two characters."""
    return unicodedata.normalize("NFC", str(path))


def _equal(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
