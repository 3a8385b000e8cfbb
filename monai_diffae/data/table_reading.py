# SPDX-License-Identifier: Apache-2.0
"""Tables that users write, as spreadsheets and other programs save them."""

from __future__ import annotations

import codecs
import csv
import io
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Table", "as_number", "read_table"]

logger = logging.getLogger(__name__)

_DELIMITERS = (",", ";", "\t")
_UNKNOWN = {"", "na", "n/a", "#n/a", "nan", "null", "none"}  # what pandas, R and spreadsheets write for no value
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_OTHER_FORMATS = {
    b"PK\x03\x04": "an Excel, LibreOffice or ZIP file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"\x1f\x8b": "a compressed file",
    b"PAR1": "a Parquet file",
}


class Table(NamedTuple):
    """A table of text.

    Args:
        file: that it was read from.
        columns: their names, without spaces around them.
        rows: cells by column.
        lines: line of the file that each row ends in.
        decimal_comma: whether a comma in a cell is a decimal one, since the cells are not separated by commas.
    """

    file: str
    columns: list[str]
    rows: list[dict[str, str]]
    lines: list[int]
    decimal_comma: bool

    def numbers(self, column: str) -> list[float]:
        """A column as numbers; NaN for a cell that is empty or says so (NA, N/A, NaN, null, None).

        Raises:
            ValueError: by file, line and column, for a cell that is no number or not finite, and for a column whose
                commas could stand for thousands as well as for decimals.
        """
        cells = [row[column].strip() for row in self.rows]
        commas = [cell for cell in cells if "," in cell]
        if self.decimal_comma and commas:
            both = [cell for cell in cells if "." in cell]
            if both or all(re.fullmatch(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}", cell) for cell in commas):
                raise ValueError(
                    f"{self.file}, column {column}: {' and '.join((commas[0], *both[:1]))} can have separators of "
                    "decimals or of thousands. Write numbers with a decimal point and nothing for thousands."
                )
        values = []
        for cell, line in zip(cells, self.lines):
            try:
                values.append(as_number(cell, self.decimal_comma))
            except ValueError as error:
                raise ValueError(f"{self.file}, line {line}, column {column}: {error}") from None
        return values


def as_number(cell: str, decimal_comma: bool = False) -> float:
    """The finite number in a cell, NaN for a cell without a value.

    Raises:
        ValueError: for text that is not just a number, such as one with a unit or with separators of thousands.
    """
    text = cell.strip()
    if text.lower() in _UNKNOWN:
        return math.nan
    spelled = text.replace(",", ".", 1) if decimal_comma and "." not in text else text
    if not _NUMBER.fullmatch(spelled) or math.isinf(float(spelled)):
        raise ValueError(
            f"{cell!r} is not a number; write it with a decimal point and nothing else (1 and 0 for yes and no), or "
            "leave the cell empty where the value is not known."
        )
    return float(spelled)


def read_table(file: str | os.PathLike) -> Table:
    """Read a table whose first row names the columns.

    Cells are separated by commas, semicolons or tabs, which the first row tells; those in double quotes may hold line
    breaks. Text is UTF-8, UTF-16 with a byte order mark, or else Windows' cp1252, which is logged. Rows without any
    value are left out.

    Raises:
        ValueError: by its name, for a file that is missing, no text, empty or without rows, has a column twice, or a
            row with more or fewer cells than there are columns.
    """
    name = os.fspath(file)
    if not os.path.isfile(file):
        raise ValueError(f"There is no table {name!r}; give a CSV file.")
    text = _decoded(Path(file))
    said = re.match(r"sep=(.)\r?\n", text)  # Excel's own line
    text = text[said.end() :] if said else text
    delimiter = said[1] if said else _delimiter(text)
    try:
        return _parsed(name, text, delimiter, 1 if said else 0)
    except csv.Error as error:
        raise ValueError(
            f"{name} cannot be read as a table: {error}; look for a quotation mark without its pair."
        ) from None


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    other = next((kind for start, kind in _OTHER_FORMATS.items() if content.startswith(start)), None)
    if other is not None:
        raise ValueError(f"{path} is {other}, not text: save it as CSV.")
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16")
        if b"\0" in content:
            raise ValueError("it has bytes of zero")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252")
            logger.warning(f"{path} is not UTF-8 and was read as cp1252, what Windows takes for Western Europe.")
            return text
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{path} is no text that can be read ({error}): save it as CSV in UTF-8.") from None


def _delimiter(text: str) -> str:
    def count(delimiter: str) -> int:
        try:
            return len(next(_reader(text, delimiter), []))
        except csv.Error:  # a quoted name is followed by another delimiter
            return 0

    return max(_DELIMITERS, key=count)


def _reader(text: str, delimiter: str) -> Iterator[list[str]]:
    # Strict, so that a quotation mark that is never closed does not swallow rows.
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _parsed(name: str, text: str, delimiter: str, lines_before: int) -> Table:
    reader = _reader(text, delimiter)
    columns = [column.strip() for column in next((row for row in reader if any(row)), [])]
    if not columns:
        raise ValueError(f"{name} is empty; its first row names the columns.")
    doubled = sorted(column for column, count in Counter(columns).items() if column and count > 1)
    if doubled:
        raise ValueError(f"{name} has two columns {', '.join(doubled)}; rename or remove one of them.")
    rows, lines = [], []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        line = reader.line_num + lines_before
        surplus = any(cell.strip() for cell in cells[len(columns) :])
        if len(cells) < len(columns) or surplus:
            comma = " A decimal comma? Write a point." if surplus and delimiter == "," else ""
            raise ValueError(
                f"{name}, line {line}: {len(cells)} cells, expected {len(columns)}, one for each of the columns "
                f"{', '.join(columns)}.{comma}"
            )
        rows.append(dict(zip(columns, cells)))
        lines.append(line)
    if not rows:
        raise ValueError(f"{name} has no rows below its columns {', '.join(columns)}.")
    return Table(name, columns, rows, lines, decimal_comma=delimiter != ",")
