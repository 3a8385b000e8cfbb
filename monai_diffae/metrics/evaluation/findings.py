# SPDX-License-Identifier: Apache-2.0
"""What a section of an evaluation found: numbers, what could not be measured, and what figures are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

__all__ = ["Curve", "Findings", "Gallery", "Measure", "Spread"]


@dataclass(frozen=True)
class Measure:
    """One number.

    Args:
        measure: what was measured.
        of: of what.
        value: the number.
        low: lower bound of what ``interval`` says, NaN for none; likewise ``high``.
        high: see ``low``.
        interval: what lies between the bounds.
        unit: of the number, empty for none.
        count: of images, or whatever was measured.
    """

    measure: str
    of: str
    value: float
    low: float = math.nan
    high: float = math.nan
    interval: str = ""
    unit: str = ""
    count: int | None = None

    @classmethod
    def over_images(cls, measure: str, of: str, values: torch.Tensor | np.ndarray, unit: str = "") -> Measure:
        """The mean of a number an image, between the bounds of 95 % of the images."""
        values = np.asarray(values, dtype=float)
        between = "linear" if np.isfinite(values).all() else "nearest"  # PSNR of a perfect image is infinite
        low, high = np.quantile(values, [0.025, 0.975], method=between)
        return cls(measure, of, float(values.mean()), float(low), float(high), "95 % of images", unit, len(values))


@dataclass(frozen=True)
class Curve:
    """A line in a plot.

    Args:
        plot: name of the plot; curves of one name are drawn together.
        label: of the line.
        x: numbers.
        y: as many.
        x_title: what x is.
        y_title: what y is.
    """

    plot: str
    label: str
    x: Sequence[float]
    y: Sequence[float]
    x_title: str
    y_title: str


@dataclass(frozen=True)
class Spread:
    """A box in a plot of distributions.

    Args:
        plot: name of the plot; boxes of one name are drawn together.
        label: of the box.
        values: a number an image.
        title: what the numbers are.
    """

    plot: str
    label: str
    values: Sequence[float]
    title: str


@dataclass(frozen=True)
class Gallery:
    """Rows of images.

    Args:
        name: of the figure.
        titles: of the columns.
        images: of each row the columns, ``(C, *spatial)`` each.
        labels: of the rows.
        signed: columns that are differences.
    """

    name: str
    titles: Sequence[str]
    images: Sequence[Sequence[torch.Tensor]]
    labels: Sequence[str]
    signed: Sequence[int] = ()


@dataclass
class Findings:
    """Of one section.

    Args:
        name: of the section, a word.
        title: of it.
        text: a few sentences that say how to read it.
        measures: in their order.
        skipped: what could not be measured, and why.
        curves: for plots.
        spreads: for plots of distributions.
        galleries: for figures of images.
        tables: further tables by name, rows with one set of columns.
    """

    name: str
    title: str
    text: str
    measures: list[Measure] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)
    spreads: list[Spread] = field(default_factory=list)
    galleries: list[Gallery] = field(default_factory=list)
    tables: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    def add(self, measure: str, of: str, value: float, **others: object) -> None:
        """Add a :class:`Measure`."""
        self.measures.append(Measure(measure, of, float(value), **others))  # type: ignore[arg-type]

    def add_scores(
        self,
        of: str,
        scores: Mapping[str, float],
        intervals: Mapping[str, tuple[float, float]] | None = None,
        count: int | None = None,
    ) -> None:
        """Add measures by name; those that have no value (NaN) are said to be skipped."""
        if missing := [name for name, value in scores.items() if math.isnan(value)]:
            self.skipped[f"{', '.join(missing)} of {of}"] = "the labels, or what is predicted, do not vary"
        for name, value in scores.items():
            if math.isnan(value):
                continue
            low, high = (intervals or {}).get(name, (math.nan, math.nan))
            interval = "" if math.isnan(low) else "95 % interval, subjects drawn"
            self.measures.append(Measure(name, of, value, low, high, interval, "", count))
