# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine

from monai_diffae.results.evaluator_handler import EvaluatorHandler
from monai_diffae.support.atomic_files import replacing
from monai_diffae.support.groups import group_numbers
from monai_diffae.support.words import names_in

__all__ = ["AttributeFitter"]

logger = logging.getLogger(__name__)


class AttributeFitter(EvaluatorHandler):
    """Collects z_sem and labels while an evaluator runs over a data set, then fits directions and writes them.

    Args:
        filename: file to write.
        attributes: names, or one; each is a key of the batch with a number, NaN where the label is not known.
        fit: ``fit(z_sem, labels, groups, confounders)``, returning an object with ``save(path)`` and, by name,
            ``summaries`` with ``row()``: :meth:`monai_diffae.semantics.AttributeDirections.fit`. Groups are what
            :func:`~monai_diffae.support.groups.group_of` says: the batch's ``subject``, else its ``volume``; where
            there is neither, every item is a group. Where there are confounders, they are given by that keyword.
        table: CSV file that says for each attribute its kind, number of labels, cross-validated scores and range of
            scores; ``None`` for none.
        confounders: names, or one, of further numbers of the batch, for ``fit``.

    Raises:
        ValueError: without attributes, and for an item that lacks an attribute or a confounder.
    """

    def __init__(
        self,
        filename: str | os.PathLike,
        attributes: str | Sequence[str],
        fit: Callable,
        table: str | os.PathLike | None = None,
        confounders: str | Sequence[str] = (),
    ) -> None:
        self.attributes = names_in(attributes)
        if not self.attributes:
            raise ValueError("attributes is empty; name at least one label to fit.")
        self.filename = Path(filename)
        self.confounders = names_in(confounders)
        self.fit = fit
        self.table = table

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator whose output holds ``z_sem`` (MONAI's ``decollate=True``).

        Raises:
            ValueError: in one of several processes, which would see its share of the labels only.
        """
        if idist.get_world_size() > 1:
            raise ValueError(f"Directions are fitted by one process, not by {idist.get_world_size()}: start one.")
        super().attach(engine)

    def _start(self, engine: Engine) -> None:
        self._z_sem: list[torch.Tensor] = []
        self._belonging: list[dict[str, Any]] = []  # what tells groups
        self._labels: dict[str, list[float]] = {name: [] for name in (*self.attributes, *self.confounders)}

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output):
            self._belonging.append({key: item[key] for key in ("subject", "volume") if key in item})
            self._z_sem.append(output["z_sem"].flatten().cpu())
            for name, values in self._labels.items():
                if name not in item:
                    option = "attributes" if name in self.attributes else "confounders"
                    raise ValueError(f"There is no label {name!r} for {sorted(item)}; check labels_file and {option}.")
                values.append(float(item[name]))

    def _finish(self, engine: Engine) -> None:
        numbers = {name: torch.tensor(values) for name, values in self._labels.items()}
        labels = {name: numbers[name] for name in self.attributes}
        others = {"confounders": {name: numbers[name] for name in self.confounders}} if self.confounders else {}
        directions = self.fit(torch.stack(self._z_sem), labels, group_numbers(self._belonging), **others)
        directions.save(self.filename)
        rows = {name: summary.row() for name, summary in directions.summaries.items()}
        if self.table is not None:
            _write_table(Path(self.table), rows)
        for name, row in rows.items():
            logger.info(f"{name}: {_in_words(row)}; {self.filename}")


def _in_words(row: Mapping[str, Any]) -> str:
    count = f"{row['labels']} labels" if row["positive"] is None else f"{row['positive']} of {row['labels']} positive"
    measured = [
        f"{title} {row[key]:.3g}"
        for key, title in (("auroc", "AUROC"), ("r2", "R^2"), ("mae", "mean absolute error"))
        if row[key] is not None
    ]
    found = "cross-validated " + ", ".join(measured) if measured else "not cross-validated, too few subjects"
    return f"{row['kind']}, {count}, {found}"


def _write_table(path: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    with replacing(path) as partial, open(partial, "w", newline="") as f:
        table = csv.writer(f)
        for i, (name, row) in enumerate(rows.items()):
            if i == 0:
                table.writerow(["attribute", *row])
            cells = [f"{cell:.4g}" if isinstance(cell, float) else cell for cell in row.values()]  # None: empty
            table.writerow([name, *cells])
