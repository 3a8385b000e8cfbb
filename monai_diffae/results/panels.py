# SPDX-License-Identifier: Apache-2.0
"""Rows of images with titles, labels and numbers, as figures are made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from monai_diffae.results.panel_layout import PanelLayout
from monai_diffae.support.atomic_files import replacing

__all__ = ["FigureRow", "FigureStyle", "caption_keys", "check_columns", "image_keys", "save_figure"]


@dataclasses.dataclass(frozen=True)
class FigureRow:
    """A row of images.

    Args:
        label: at its left.
        images: by key, ``(C, A, B)``, or ``(N, C, A, B)`` for N columns.
        captions: numbers below the images, by key.
    """

    label: str
    images: Mapping[str, torch.Tensor]
    captions: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FigureStyle:
    """How images are drawn.

    Args:
        value_range: black and white.
        difference_range: blue and red stand for minus and plus this; ``None``: for the largest difference of the
            figure, in round numbers.
        y_up: the axes are x to the right and y upwards (volumes in RAS orientation), or rows from the top and columns
            (pictures).
        colour_bar: one for all differences says what the colours stand for; without it, their titles do.
    """

    value_range: Sequence[float] = (-1.0, 1.0)
    difference_range: float | None = 0.5
    y_up: bool = True
    colour_bar: bool = False


@dataclasses.dataclass(frozen=True)
class _Panel:
    title: str
    image: np.ndarray
    signed: bool
    caption: str


def check_columns(columns: Iterable[Mapping[str, Any]]) -> None:
    """
    Raises:
        ValueError: for a column without ``key`` and ``title``, or with entries that are not known.
    """
    for column in columns:
        if not {"key", "title"} <= set(column) <= {"key", "title", "minus", "signed", "caption"}:
            raise ValueError(f"A column has key and title, and may have minus, signed or caption; got {dict(column)}.")


def image_keys(columns: Iterable[Mapping[str, Any]]) -> list[str]:
    """Keys of all images of the columns."""
    return list(dict.fromkeys(key for c in columns for key in (c["key"], c.get("minus", c["key"]))))


def caption_keys(column: Mapping[str, Any]) -> Sequence[str]:
    """Keys of the numbers below a column's images."""
    keys = column.get("caption", ())
    return [keys] if isinstance(keys, str) else keys


def save_figure(
    path: Path, columns: Sequence[Mapping[str, Any]], rows: Sequence[FigureRow], style: FigureStyle, heading: str = ""
) -> None:
    """Write a PNG file; it appears when it is complete. Missing folders are made.

    Args:
        path: of the file.
        columns: as :class:`~monai_diffae.results.FigureSaver` takes them.
        rows: at least one.
        style: of all images.
        heading: above all.
    """
    with replacing(path) as partial:
        draw_figure(columns, rows, style, heading).savefig(partial, format="png", dpi="figure")


def draw_figure(
    columns: Sequence[Mapping[str, Any]], rows: Sequence[FigureRow], style: FigureStyle, heading: str = ""
) -> Figure:
    """The figure of :func:`save_figure`; no two of its texts touch."""
    panels = [_panels(columns, row) for row in rows]
    limit = style.difference_range or _round_limit(panels)
    bar = style.colour_bar and any(panel.signed for panel in panels[0])
    titles = [panel.title + _scale(limit) * (panel.signed and not bar) for panel in panels[0]]
    captions = [[panel.caption for panel in row] for row in panels]
    layout = PanelLayout(titles, captions, [row.label for row in rows], heading, bar)
    for i, row_panels in enumerate(panels):
        for j, panel in enumerate(row_panels):
            shown = layout.show(i, j, **_drawn(panel, style, limit))
            if bar and panel.signed:
                differences = shown
    if bar:
        scale = layout.figure.colorbar(differences, cax=layout.add_bar_axes())
        scale.ax.tick_params(labelsize=7)
        low, high = style.value_range
        scale.set_label(f"difference (images: {low:g} black, {high:g} white)", fontsize=7)
    return layout.finish()


def _panels(columns: Sequence[Mapping[str, Any]], row: FigureRow) -> list[_Panel]:
    """Those of a row, series spread out."""
    panels = []
    for column in columns:
        image = row.images[column["key"]]
        if "minus" in column:
            image = image - row.images[column["minus"]]
        series = image if image.ndim == 4 else image[None]  # (N, C, A, B)
        titles = [column["title"]] * len(series) if isinstance(column["title"], str) else column["title"]
        signed = "minus" in column or column.get("signed", False)
        numbers = [row.captions[key] for key in caption_keys(column) if key in row.captions]
        captions = [", ".join(map(_in_short, ns)) for ns in zip(*numbers)] if numbers else [""] * len(series)
        panels += [
            _Panel(title, part.numpy(), signed, caption)
            for title, part, caption in zip(titles, series, captions, strict=True)
        ]
    return panels


def _in_short(number: float) -> str:
    """Three digits, and 0 for what is next to it."""
    return f"{round(number, 6) + 0.0:.3g}"


def _scale(limit: float) -> str:
    return f"\n(blue -{limit:g}, red +{limit:g})"


def _round_limit(panels: Sequence[Sequence[_Panel]]) -> float:
    """The largest difference, rounded up to 1, 1.5, 2, 3, 4, 5, 6 or 8 of its decimal place."""
    largest = max((float(np.abs(p.image.mean(axis=0)).max()) for row in panels for p in row if p.signed), default=0.0)
    if largest < 1e-6:
        return 1e-6  # there is none
    unit = 10.0 ** np.floor(np.log10(largest))
    steps = [step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step >= largest / unit - 1e-6]
    return float(f"{steps[0] * unit:.2g}")


def _drawn(panel: _Panel, style: FigureStyle, limit: float) -> dict[str, Any]:
    """An image with rows from the top, and its colours."""

    def rows_first(image: np.ndarray) -> np.ndarray:
        return np.rot90(image) if style.y_up else image

    if panel.signed:
        return {"image": rows_first(panel.image.mean(axis=0)), "cmap": "seismic", "vmin": -limit, "vmax": limit}
    low, high = style.value_range
    shown = np.clip((panel.image - low) / (high - low), 0, 1)
    if len(shown) == 3:
        return {"image": rows_first(np.moveaxis(shown, 0, -1))}
    return {"image": rows_first(shown[0]), "cmap": "gray", "vmin": 0, "vmax": 1}
