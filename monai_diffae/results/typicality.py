# SPDX-License-Identifier: Apache-2.0
"""Whether images are of the kind that a model knows: the fit, and the warning."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine

from monai_diffae.results.evaluator_handler import EvaluatorHandler
from monai_diffae.results.sources import source_file
from monai_diffae.semantics import LatentTypicality

__all__ = ["TypicalityCheck", "TypicalityFitter"]

logger = logging.getLogger(__name__)
_NAMED = 5  # files in the warning


class TypicalityCheck:
    """The percentile of codes among withheld ones (:class:`~monai_diffae.semantics.LatentTypicality`), and one warning
    of those beyond the finest percentile, with their number and the farthest files.

    Args:
        path: file of the typicality. Without one no code has a percentile, which the log says.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)

    def start(self) -> None:
        """Before the first code of a run."""
        self._typicality = LatentTypicality.load(self.path) if self.path.exists() else None
        self._count, self._beyond = 0, []
        if self._typicality is None:
            logger.info(f"There is no {self.path}: latents have no typicality. fit_typicality.yaml makes it.")

    def cells(self, z_sem: torch.Tensor, place: Mapping[str, Any]) -> dict[str, float]:
        """The column ``typicality`` of a code ``(D,)``, or nothing.

        Args:
            z_sem: the code.
            place: the first cells of its row.
        """
        if self._typicality is None:
            return {}
        z_sem = z_sem.detach().cpu().reshape(1, -1)
        percentile = float(self._typicality(z_sem))
        self._count += 1
        if bool(self._typicality.beyond(z_sem)):
            of_slice = f", slice {place['slice']}" if "slice" in place else ""
            self._beyond.append((float(self._typicality.distance(z_sem)), f"{place['file']}{of_slice}"))
        return {"typicality": percentile}

    def warn(self) -> None:
        """After the last code of a run, in all processes; the first one warns."""
        several = idist.get_world_size() > 1
        found = idist.all_gather((self._count, self._beyond)) if several else [(self._count, self._beyond)]
        beyond = [pair for _, pairs in found for pair in pairs]
        if not beyond or idist.get_rank() > 0:
            return
        total = sum(count for count, _ in found)
        worst = "; ".join(place for _, place in sorted(beyond, reverse=True)[:_NAMED])
        warnings.warn(
            f"{len(beyond)} of {total} images lie beyond all {len(self._typicality.withheld)} codes that the model was "
            f"compared with (typicality {self._typicality.finest:.4g}): it may not know images of their kind, and its "
            f"results for them mean little. The farthest: {worst}.",
            stacklevel=2,
        )


class TypicalityFitter(EvaluatorHandler):
    """Collects z_sem while an evaluator runs over a data set, then fits
    :class:`~monai_diffae.semantics.LatentTypicality` and writes it.

    Args:
        filename: file to write.
        withheld: the images (paths) that the training has not seen; all others are the training's.

    Raises:
        ValueError: when it is run, in one of several processes, or if either part is missing.
    """

    def __init__(self, filename: str | os.PathLike, withheld: Sequence[str | os.PathLike]) -> None:
        self.filename = Path(filename)
        self.withheld = {os.path.abspath(path) for path in withheld}

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator whose output holds ``z_sem`` (MONAI's ``decollate=True``).
        """
        if idist.get_world_size() > 1:
            raise ValueError(f"Typicality is fitted by one process, not by {idist.get_world_size()}: start one.")
        super().attach(engine)

    def _start(self, engine: Engine) -> None:
        self._codes: dict[bool, list[torch.Tensor]] = {True: [], False: []}

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output):
            is_withheld = os.path.abspath(source_file(item)) in self.withheld
            self._codes[is_withheld].append(output["z_sem"].flatten().cpu())

    def _finish(self, engine: Engine) -> None:
        counts = {part: len(codes) for part, codes in self._codes.items()}
        if counts[False] < 2 or not counts[True]:
            raise ValueError(
                f"Typicality needs codes of the training and withheld ones; got {counts[False]} and {counts[True]}."
            )
        typicality = LatentTypicality.fit(torch.stack(self._codes[False]), torch.stack(self._codes[True]))
        typicality.save(self.filename)
        logger.info(
            f"{self.filename}: covariance of {counts[False]} codes, {counts[True]} withheld ones at distances of "
            f"{float(typicality.withheld[0]):.3g} to {float(typicality.withheld[-1]):.3g}."
        )
