# SPDX-License-Identifier: Apache-2.0
"""The rows as CSV and Markdown, whole or not at all, and kept after each task so that a stopped run goes on."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from monai_diffae.support.atomic_files import replacing

from .rows import COLUMNS, Row

__all__ = ["Finished", "markdown", "shown", "write_csv", "write_text"]

_SHORT = {
    "seconds_lower_quartile": "lower quartile",
    "seconds_upper_quartile": "upper quartile",
    "images_per_second": "images/s",
    "speed_over_authors_float32": "speed, authors' float32 = 1",
    "peak_memory_mib": "peak memory, MiB",
    "gflop": "GFLOP",
    "gflop_per_second": "GFLOP/s",
    "share_of_ceiling": "share of the ceiling",
    "first_call_seconds": "first call, s",
    "worst_psnr": "worst PSNR",
    "psnr": "PSNR",
}


def shown(value: object) -> str:
    if value is None or value == "":
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(text)


def write_csv(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, open(partial, "w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()
        table.writerows({name: shown(value) for name, value in row.items()} for row in rows)


def markdown(rows: list[Row]) -> str:
    """A table of the columns that any row has something in."""
    columns = [name for name in COLUMNS if any(shown(row.get(name)) for row in rows)]
    lines = [" | ".join(_SHORT.get(name, name) for name in columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(shown(row.get(name)) for name in columns) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


class Finished:
    """Rows of the tasks that are done, in a file beside the table while it grows.

    Args:
        path: of the file.
        settings: of the run; rows of other settings are not used again.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.rows: dict[str, list[Row]] = {}
        if path.is_file():
            content = json.loads(path.read_text())
            if content["settings"] == self.settings:
                self.rows = content["rows"]

    def add(self, task: str, rows: list[Row]) -> None:
        self.rows[task] = rows
        write_text(self.path, json.dumps({"settings": self.settings, "rows": self.rows}))

    def all(self) -> list[Row]:
        return [row for rows in self.rows.values() for row in rows]
