# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from monai_diffae.handlers.sources import source_file

__all__ = ["EditsTableSaver", "LatentsTableSaver"]


class _ItemTableSaver:
    """A CSV table with rows for each item of an evaluator, which start with its file, and its slice if it is one.

    Rows are streamed to a temporary file, which takes the table's name when the run has ended. Of several processes
    each streams its own rows, and the first one puts them together in the order of the processes.

    Args:
        filename: CSV file.
        data_root_dir: files in it are named relative to it.
    """

    def __init__(self, filename: str | os.PathLike, data_root_dir: str | os.PathLike = "") -> None:
        self.filename = Path(filename)
        self.data_root_dir = data_root_dir

    def rows(self, output: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The further cells of an item's rows, by column, from the evaluator's output for it."""
        raise NotImplementedError(f"{type(self).__name__} says nothing about an item.")

    def place(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """The first cells of an item's rows, by column."""
        place = {"file": source_file(item, self.data_root_dir)}
        return place | ({"slice": int(item["slice"])} if "slice" in item else {})

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator whose output is a list of dictionaries (MONAI's ``decollate=True``).
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._append)
        engine.add_event_handler(Events.COMPLETED, self._close)

    @property
    def _partial(self) -> Path:
        return self._partial_of(idist.get_rank())

    def _partial_of(self, rank: int) -> Path:
        return self.filename.with_name(f"{self.filename.name}{f'.{rank}' if rank else ''}.partial")

    def _open(self, engine: Engine) -> None:
        self.filename.parent.mkdir(parents=True, exist_ok=True)
        self._partial.unlink(missing_ok=True)

    def _append(self, engine: Engine) -> None:
        with open(self._partial, "a", newline="") as f:
            table = csv.writer(f)
            for item, output in zip(engine.state.batch, engine.state.output):
                place = self.place(item)
                for row in self.rows(output):
                    if f.tell() == 0:
                        table.writerow([*place, *row])
                    cells = [f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row.values()]
                    table.writerow([*place.values(), *cells])

    def _close(self, engine: Engine) -> None:
        idist.barrier()  # all rows are written
        if idist.get_rank() > 0:
            return
        with open(self._partial, "a", newline="") as table:
            for rank in range(1, idist.get_world_size()):
                with open(self._partial_of(rank), newline="") as rows:
                    rows.readline()  # the column names
                    shutil.copyfileobj(rows, table)
                self._partial_of(rank).unlink()
        os.replace(self._partial, self.filename)


class LatentsTableSaver(_ItemTableSaver):
    """Writes ``latents.csv``: one row an item with its file, its subject (where the data say it), and z_sem.

    A slice has its index in the prepared volume too, and ``x_mm``, ``y_mm``, ``z_mm``, the place of its centre in the
    world of the source's affine (RAS for NIfTI).

    The evaluator's output holds ``z_sem``. Rows are streamed to a temporary file, which takes the table's name when the
    run has ended.

    Args:
        filename: CSV file.
        data_root_dir: files in it are named relative to it.
        numbers: keys of the output with a number an item, for a column each before z_sem; one that the output does not
            hold (of a workflow that encodes nothing, say) has no column.
    """

    def __init__(
        self, filename: str | os.PathLike, data_root_dir: str | os.PathLike = "", numbers: Sequence[str] = ()
    ) -> None:
        super().__init__(filename, data_root_dir)
        self.numbers = tuple(numbers)

    def place(self, item: Mapping[str, Any]) -> dict[str, Any]:
        place = super().place(item)
        if "subject" in item:
            place = {"file": place.pop("file"), "subject": item["subject"]} | place
        if "slice" in item:
            image = item["image"]
            center = [(n - 1) / 2 for n in image.shape[1:3]]
            world = image.affine.cpu().double() @ torch.tensor([*center, 0.0, 1.0], dtype=torch.float64)
            place |= {name: f"{position:.3f}" for name, position in zip(("x_mm", "y_mm", "z_mm"), world.tolist())}
        return place

    def rows(self, output: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        z_sem = output["z_sem"].flatten().tolist()
        yield {n: float(output[n]) for n in self.numbers if n in output} | {
            f"z_{i}": value for i, value in enumerate(z_sem)
        }


class EditsTableSaver(_ItemTableSaver):
    """Writes ``edits.csv``: one row an edit with the file, the slice (if it is one) and what the edit did to the score.

    The columns are ``attribute``, ``amount``, ``target`` or ``to_class_mean``, ``step`` (where there are several to
    it), ``score_before``, ``score_after`` and ``extrapolation`` (standard deviations outside the training data's
    scores; ``nan`` where those are not known), from what :meth:`monai_diffae.inferers.ManipulationInferer.predict`
    gives.

    Args:
        filename: CSV file.
        attribute: that is edited.
        amount: of the edits; one, or a list for a series.
        target: or their target.
        data_root_dir: files in it are named relative to it.
        num_steps: of the way to the one edit.
        numbers: keys of the output with a number an edit, for a further column each.
        to_class_mean: or their share of the way to the class mean.

    Raises:
        ValueError: unless exactly one of ``amount``, ``target`` and ``to_class_mean`` is given.
    """

    def __init__(
        self,
        filename: str | os.PathLike,
        attribute: str,
        amount: float | Sequence[float] | None = None,
        target: float | str | Sequence[float | str] | None = None,
        data_root_dir: str | os.PathLike = "",
        num_steps: int = 1,
        numbers: Sequence[str] = (),
        to_class_mean: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(filename, data_root_dir)
        ways = {"amount": amount, "target": target, "to_class_mean": to_class_mean}
        given = {way: edits for way, edits in ways.items() if edits is not None}
        if len(given) != 1:
            got = " and ".join(f"{way}={edits!r}" for way, edits in given.items()) or "none of them"
            raise ValueError(f"Give exactly one of amount, target and to_class_mean; got {got}.")
        ((self.column, edits),) = given.items()
        self.attribute = attribute
        self.edits = edits if isinstance(edits, (list, tuple)) else [edits] * num_steps
        self.num_steps = num_steps
        self.numbers = tuple(numbers)

    def rows(self, output: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        keys = ("score_after", "extrapolation", *self.numbers)
        measured = [torch.as_tensor(output[key]).flatten().tolist() for key in keys]
        for i, (edit, *values) in enumerate(zip(self.edits, *measured, strict=True)):
            yield {
                "attribute": self.attribute,
                self.column: edit,
                **({"step": f"{i + 1}/{self.num_steps}"} if self.num_steps > 1 else {}),
                "score_before": float(output["score"]),
                **dict(zip(keys, values)),
            }
