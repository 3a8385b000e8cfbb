# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from ignite.engine import Engine, Events

__all__ = ["AttributeFitter"]

logger = logging.getLogger(__name__)


class AttributeFitter:
    """Collects z_sem and labels while an evaluator runs over a data set, then fits directions and writes them.

    Args:
        filename: file to write.
        attributes: names; each is a key of the batch with a label of 0 or 1.
        fit: ``fit(z_sem, labels, groups)``, returning an object with ``save(path)`` and ``auroc``:
            :meth:`monai_diffae.semantics.AttributeDirections.fit`. Groups are the volumes.
    """

    def __init__(self, filename: str | os.PathLike, attributes: Sequence[str], fit: Callable) -> None:
        if not attributes:
            raise ValueError("attributes is empty; name at least one label to fit.")
        self.filename = Path(filename)
        self.attributes = list(attributes)
        self.fit = fit

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator whose output holds ``z_sem`` (MONAI's ``decollate=True``).
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._fit)

    def _start(self, engine: Engine) -> None:
        self._z_sem: list[torch.Tensor] = []
        self._groups: list[int] = []
        self._labels: dict[str, list[float]] = {name: [] for name in self.attributes}

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output):
            self._z_sem.append(output["z_sem"].flatten().cpu())
            self._groups.append(int(item["volume"]))
            for name, values in self._labels.items():
                if name not in item:
                    raise ValueError(
                        f"There is no label {name!r} for {sorted(item)}; check labels_file and attributes."
                    )
                values.append(float(item[name]))

    def _fit(self, engine: Engine) -> None:
        labels = {name: torch.tensor(values) for name, values in self._labels.items()}
        directions = self.fit(torch.stack(self._z_sem), labels, torch.tensor(self._groups))
        directions.save(self.filename)
        for name, values in labels.items():
            auroc = directions.auroc.get(name)
            found = "not cross-validated, too few volumes" if auroc is None else f"cross-validated AUROC {auroc:.3f}"
            logger.info(f"{name}: {int(values.sum())} of {len(values)} slices positive, {found}; {self.filename}")
