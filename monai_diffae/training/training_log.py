# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events

from monai_diffae.support.atomic_files import replacing

__all__ = ["TrainingLogSaver"]


class TrainingLogSaver:
    """Writes one row an epoch: iteration, images seen, hours, mean training loss, metrics of trainer and evaluators.

    Rows of an earlier run of the same file are kept up to the iteration where training goes on, and its hours are
    added to. Of several processes the first one writes, with the mean loss of all.

    Args:
        filename: CSV file.
        batch_size: images an iteration, of all processes together.
        evaluators: name to evaluator; their metrics are written as ``<name>_<metric>`` in the epochs in which a
            ``ValidationHandler`` ran them. Place this handler after those, and after the ones that write metrics of the
            trainer, which stand in the table under their own names.
    """

    def __init__(self, filename: str | os.PathLike, batch_size: int, evaluators: Mapping[str, Engine]) -> None:
        self.filename = Path(filename)
        self.batch_size = batch_size
        self.evaluators = evaluators
        self._rows: list[dict] = []
        self._hours = 0.0
        self._losses: list[float] = []

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: a MONAI trainer.
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        if self.filename.exists() and engine.state.iteration > 0:
            with open(self.filename, newline="") as f:
                self._rows = [row for row in csv.DictReader(f) if int(row["iteration"]) <= engine.state.iteration]
        self._hours = float(self._rows[-1]["hours"]) if self._rows else 0.0
        self._started = time.monotonic()

    def _collect(self, engine: Engine) -> None:
        output = engine.state.output[0] if isinstance(engine.state.output, list) else engine.state.output
        self._losses.append(float(output["loss"]))

    def _mean_loss(self) -> float:
        return idist.all_reduce(math.fsum(self._losses) / len(self._losses)) / idist.get_world_size()

    def _write(self, engine: Engine) -> None:
        row = {
            "iteration": engine.state.iteration,
            "images_seen": engine.state.iteration * self.batch_size,
            "hours": f"{self._hours + (time.monotonic() - self._started) / 3600:.4f}",
            "train_loss": f"{self._mean_loss():.6f}",
        }
        row |= {name: f"{value:.6g}" for name, value in engine.state.metrics.items()}
        for name, evaluator in self.evaluators.items():
            # MONAI's ValidationHandler gives the evaluator the trainer's epoch: an older one has an older result.
            ran = evaluator.state.epoch == engine.state.epoch
            for metric, value in evaluator.state.metrics.items():
                row[f"{name}_{metric}"] = f"{value:.6g}" if ran else ""
        self._losses.clear()
        if idist.get_rank() > 0:
            return
        self._rows.append(row)
        with replacing(self.filename) as partial, open(partial, "w", newline="") as f:
            table = csv.DictWriter(f, fieldnames=list(dict.fromkeys(key for r in self._rows for key in r)))
            table.writeheader()
            table.writerows(self._rows)
