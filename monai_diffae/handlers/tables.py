# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from ignite.engine import Engine, Events

from monai_diffae.handlers.sources import source_file

__all__ = ["LatentsTableSaver"]


class LatentsTableSaver:
    """Writes ``latents.csv``: one row an item with its file, its index in the volume (of a slice), and z_sem.

    Rows are streamed to a temporary file, which takes the table's name when the run has ended.

    Args:
        filename: CSV file.
        data_root_dir: files in it are named relative to it.
        numbers: keys of the output with a number an item, for a column each.
    """

    def __init__(
        self, filename: str | os.PathLike, data_root_dir: str | os.PathLike = "", numbers: Sequence[str] = ()
    ) -> None:
        self.filename = Path(filename)
        self.data_root_dir = data_root_dir
        self.numbers = tuple(numbers)

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator whose output holds ``z_sem`` (MONAI's ``decollate=True``).
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._append)
        engine.add_event_handler(Events.COMPLETED, self._close)

    @property
    def _partial(self) -> Path:
        return self.filename.with_name(self.filename.name + ".partial")

    def _open(self, engine: Engine) -> None:
        self.filename.parent.mkdir(parents=True, exist_ok=True)
        self._partial.unlink(missing_ok=True)

    def _append(self, engine: Engine) -> None:
        with open(self._partial, "a", newline="") as f:
            table = csv.writer(f)
            for item, output in zip(engine.state.batch, engine.state.output):
                z_sem = output["z_sem"].flatten().tolist()
                place = {"slice": int(item["slice"])} if "slice" in item else {}
                place |= {name: f"{float(output[name]):.6g}" for name in self.numbers}
                if f.tell() == 0:
                    table.writerow(["file", *place, *(f"z_{i}" for i in range(len(z_sem)))])
                file = source_file(item, self.data_root_dir)
                table.writerow([file, *place.values(), *(f"{value:.6g}" for value in z_sem)])

    def _close(self, engine: Engine) -> None:
        os.replace(self._partial, self.filename)
