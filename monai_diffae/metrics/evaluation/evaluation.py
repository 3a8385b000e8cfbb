# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from monai_diffae.metrics.evaluation.bench import EvaluationBench
from monai_diffae.metrics.evaluation.findings import Findings
from monai_diffae.metrics.evaluation.judging import Judge

__all__ = ["Evaluation"]

logger = logging.getLogger(__name__)


class Evaluation:
    """Runs sections of an evaluation one after the other.

    Args:
        bench: that they share.
        sections: with ``name`` and ``measure()``, which gives :class:`~monai_diffae.metrics.evaluation.Findings`.
        only: names of those to run; ``None`` for all.
        judge: whose file is forgotten in the end.

    Raises:
        ValueError: if ``only`` names a section that is not there.
    """

    def __init__(
        self,
        bench: EvaluationBench,
        sections: Sequence,
        only: Sequence[str] | None = None,
        judge: Judge | None = None,
    ) -> None:
        names = [section.name for section in sections]
        if only is not None and not set(only) <= set(names):
            raise ValueError(f"Sections are {', '.join(names)}; got {list(only)}.")
        self.bench, self.judge = bench, judge
        self.sections = [section for section in sections if only is None or section.name in only]

    def __iter__(self) -> Iterator[Findings]:
        for number, section in enumerate(self.sections, 1):
            logger.info(f"Section {number} of {len(self.sections)}: {section.name}.")
            found = section.measure()
            for what, why in found.skipped.items():
                logger.info(f"Skipped: {what}, because {why}.")
            yield found

    def run(self, write: Callable[[list[Findings]], None]) -> None:
        """All sections; ``write`` gets what is known after each of them. Then what a stopped run would go on from is
        deleted."""
        found: list[Findings] = []
        for findings in self:
            found.append(findings)
            write(found)
        self.bench.forget()
        if self.judge is not None:
            self.judge.forget()
