# SPDX-License-Identifier: Apache-2.0
"""Tables that grow on the disk row by row, in the format that the name of their file says."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from monai_diffae.support.atomic_files import replacing

__all__ = ["CsvFile", "ParquetFile", "table_file_class"]

Row = tuple[Mapping[str, Any], Mapping[str, Any]]
"""The cells that say where a row comes from, and those that were computed, in single precision; by column."""


class CsvFile:
    """Comma-separated values: places with 3 decimals, computed numbers with 6 digits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text("")

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows that have the same columns."""
        with open(self.path, "a", newline="") as f:
            table = csv.writer(f)
            for place, computed in rows:
                if f.tell() == 0:
                    table.writerow([*place, *computed])
                cells = [f"{cell:.3f}" if isinstance(cell, float) else cell for cell in place.values()]
                table.writerow(cells + [f"{x:.6g}" if isinstance(x, float) else x for x in computed.values()])

    def close(self) -> None:
        """End the file."""

    @staticmethod
    def join(first: Path, others: Sequence[Path]) -> None:
        """Put the rows of other files behind those of the first."""
        with open(first, "a", newline="") as table:
            for other in others:
                with open(other, newline="") as rows:
                    rows.readline()  # the column names
                    shutil.copyfileobj(rows, table)


class ParquetFile:
    """Apache Parquet in row groups of ``group_size``, of which one is held in memory.

    Text, 64-bit integers, places as float64 and computed numbers as float32, which loses nothing of them.
    """

    group_size = 1024

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self._writer: Any = None
        self._rows: list[Row] = []

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows that have the same columns."""
        self._rows += rows
        if len(self._rows) >= self.group_size:
            self._flush()

    def close(self) -> None:
        """End the file; without that it cannot be read."""
        if self._rows:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        arrow, parquet = _pyarrow(self.path)
        if self._writer is None:
            place, computed = self._rows[0]
            fields = [(name, _arrow_type(arrow, cell, arrow.float64())) for name, cell in place.items()]
            fields += [(name, _arrow_type(arrow, cell, arrow.float32())) for name, cell in computed.items()]
            self._writer = parquet.ParquetWriter(self.path, arrow.schema(fields))
        rows = [{**place, **computed} for place, computed in self._rows]
        self._writer.write_table(arrow.Table.from_pylist(rows, schema=self._writer.schema))
        self._rows = []

    @staticmethod
    def join(first: Path, others: Sequence[Path]) -> None:
        """Put the rows of other files behind those of the first."""
        _, parquet = _pyarrow(first)
        schema = parquet.read_schema(first)
        with replacing(first) as joined, parquet.ParquetWriter(joined, schema) as writer:
            for part in (first, *others):
                with parquet.ParquetFile(part) as file:
                    for group in range(file.num_row_groups):
                        writer.write_table(file.read_row_group(group))


def table_file_class(filename: str | os.PathLike, formats: Sequence[str]) -> type[CsvFile] | type[ParquetFile]:
    """The class for a file, by the extension of its name.

    Args:
        filename: ends in ``.csv`` or ``.parquet``.
        formats: those of ``csv`` and ``parquet`` that the table can have.

    Raises:
        ValueError: for another extension.
        ImportError: for Parquet without pyarrow.
    """
    extension = Path(filename).suffix.lstrip(".")
    if extension not in formats:
        raise ValueError(f"{filename} ends in {extension!r}; a table of this kind can be {' or '.join(formats)}.")
    if extension == "parquet":
        _pyarrow(filename)
    return {"csv": CsvFile, "parquet": ParquetFile}[extension]


def _pyarrow(filename: str | os.PathLike) -> tuple[Any, Any]:
    arrow, found = optional_import("pyarrow")
    parquet, _ = optional_import("pyarrow.parquet")
    if not found:
        raise ImportError(f"{filename} is a Parquet table; to write it: pip install pyarrow, or take csv.")
    return arrow, parquet


def _arrow_type(arrow: Any, cell: Any, number: Any) -> Any:
    return number if isinstance(cell, float) else arrow.int64() if isinstance(cell, int) else arrow.string()
