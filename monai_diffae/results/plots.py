# SPDX-License-Identifier: Apache-2.0
"""Plots of an evaluation's curves and distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from monai_diffae.support.atomic_files import replacing

__all__ = ["PlottedCurve", "PlottedSpread", "save_boxes", "save_plot"]


class PlottedCurve(Protocol):
    """A line with its axes' titles, as :mod:`monai_diffae.metrics.evaluation` finds them."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    x_title: str
    y_title: str


class PlottedSpread(Protocol):
    """A distribution with the title of its numbers, as :mod:`monai_diffae.metrics.evaluation` finds them."""

    label: str
    values: Sequence[float]
    title: str


def save_boxes(path: Path, spreads: Sequence[PlottedSpread]) -> None:
    """Distributions beside each other, a PNG file that appears when it is complete: the box holds half of the numbers,
    the whiskers 95 %, the others are points. Numbers that are not finite are left out."""
    figure = Figure(figsize=(2 + 0.5 * len(spreads), 4.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.boxplot([[v for v in spread.values if math.isfinite(v)] for spread in spreads], whis=(2.5, 97.5), widths=0.6)
    labels = [spread.label for spread in spreads]
    axes.set_xticks(range(1, len(labels) + 1), labels, rotation=60, ha="right", fontsize=8, parse_math=False)
    axes.set_ylabel(spreads[0].title, parse_math=False)
    axes.grid(alpha=0.3, axis="y")
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi="figure")


def save_plot(path: Path, curves: Sequence[PlottedCurve]) -> None:
    """Lines with their points in one plot, a PNG file that appears when it is complete. Missing folders are made.

    The x axis is logarithmic where all x are positive and span more than a factor of 5.
    """
    figure = Figure(figsize=(6, 3.8), dpi=110, layout="constrained")
    axes = figure.subplots()
    for curve in curves:
        axes.plot(curve.x, curve.y, marker="o", label=curve.label)
    places = [x for curve in curves for x in curve.x]
    if min(places) > 0 and max(places) > 5 * min(places):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(curves[0].x_title, parse_math=False)
    axes.set_ylabel(curves[0].y_title, parse_math=False)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi="figure")
