# SPDX-License-Identifier: Apache-2.0
"""Where the panels and texts of a figure stand.

All is computed from the sizes of the texts, and all stands on one page that counts in pixels. matplotlib's own layout
draws the whole figure several times, and axes for each image cost more than the image: both together took most of the
time of short runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from monai_diffae.results.fitted_text import fit_texts

__all__ = ["PanelLayout"]

_PANEL, _ROW = 1.6, 1.65  # inches, of a column and of a row with its captions
_BESIDE, _ABOVE, _HEADING, _BAR = 0.9, 0.4, 0.25, 0.7  # inches, of the rest
_LINE = 0.14  # inches, of a further line
_LABEL_ROOM = 1.35  # inches, that a label has along its row
_GAP = 6  # pixels


class PanelLayout:
    """A figure of rows of images: a title above each column, a label beside each row, a caption below each image.

    Args:
        titles: of the columns.
        captions: of the images, by row.
        labels: of the rows.
        heading: above all; empty for none.
        bar: whether there is room for a colour bar on the right.
    """

    def __init__(
        self, titles: Sequence[str], captions: Sequence[Sequence[str]], labels: Sequence[str], heading: str, bar: bool
    ) -> None:
        self.num_rows, self.num_columns = len(captions), len(titles)
        width = _PANEL * self.num_columns + _BESIDE + _BAR * bar
        height = _ROW * self.num_rows + _ABOVE + _HEADING * bool(heading)
        self.figure = Figure(figsize=(width, height), dpi=110)
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()
        dpi = self.figure.dpi

        self._labels = _Texts(labels, self, _LABEL_ROOM * dpi, sizes=(7, 6, 5), max_lines=4)
        self._heading = _Texts([heading], self, width * dpi - 2 * _GAP)
        self._left = 3 * _GAP + self._labels.height()
        self._column = (width * dpi - self._left - _GAP - _BAR * dpi * bar) / self.num_columns
        self._titles = _Texts(titles, self, self._column - _GAP)
        self._captions = _Texts([c for row in captions for c in row], self, self._column - _GAP, sizes=(7, 6, 5))

        rows = [slice(k * self.num_columns, (k + 1) * self.num_columns) for k in range(self.num_rows)]
        self._below = [self._captions.height(row) for row in rows]
        more = self._titles.more_lines() + self._heading.more_lines() + sum(map(self._captions.more_lines, rows))
        height += _LINE * more
        self.figure.set_size_inches(width, height)
        self._size = width * dpi, height * dpi
        self._page = self.figure.add_axes((0, 0, 1, 1), xlim=(0, self._size[0]), ylim=(0, self._size[1]))
        self._page.set_axis_off()
        self._top = 2 * _GAP + self._titles.height() + self._heading.height()
        self._row = (self._size[1] - self._top - _GAP - sum(self._below)) / self.num_rows

    def width_of(self, line: str, size: float) -> float:
        """Of a line of text, in pixels."""
        return self._renderer.get_text_width_height_descent(line, FontProperties(size=size), ismath=False)[0]

    def line_height(self, size: float) -> float:
        """Of one line of several, in pixels."""
        return 1.2 * self._renderer.get_text_width_height_descent("lp", FontProperties(size=size), ismath=False)[1]

    def show(self, row: int, column: int, image: np.ndarray, **options: Any) -> AxesImage:
        """Draw an image as large as there is room, with a frame and its texts.

        Args:
            row: from the top.
            column: from the left.
            image: ``(rows, columns)`` or ``(rows, columns, 3)``, rows from the top.
            options: of :meth:`matplotlib.axes.Axes.imshow`.
        """
        room = self._column - _GAP, self._row - _GAP
        scale = min(room[0] / image.shape[1], room[1] / image.shape[0])
        width, height = scale * image.shape[1], scale * image.shape[0]
        x, y = self._left + (column + 0.5) * self._column, self._middle(row)
        left, right, bottom, top = x - width / 2, x + width / 2, y - height / 2, y + height / 2
        shown = self._page.imshow(image, extent=(left, right, bottom, top), aspect="auto", **options)
        self._page.add_patch(Rectangle((left, bottom), width, height, fill=False, linewidth=0.8))
        if row == 0:
            self._write(x, top + _GAP, self._titles, column, verticalalignment="bottom")
        if column == 0:
            self._write(left - _GAP, y, self._labels, row, rotation=90, horizontalalignment="right")
        self._write(x, bottom - _GAP / 2, self._captions, row * self.num_columns + column, verticalalignment="top")
        return shown

    def finish(self) -> Figure:
        """The figure, with its heading if there is one, when all images are shown."""
        self._write(self._size[0] / 2, self._size[1] - _GAP, self._heading, 0, verticalalignment="top")
        return self.figure

    def add_bar_axes(self) -> Axes:
        """Axes for the colour bar."""
        width, height = self._size
        left, bottom = self._left + self.num_columns * self._column + _GAP, 2 * _GAP
        box = left, bottom, 0.1 * self.figure.dpi, height - self._top - 3 * _GAP
        return self.figure.add_axes([length / whole for length, whole in zip(box, (width, height) * 2)])

    def _middle(self, row: int) -> float:
        return self._size[1] - self._top - (row + 0.5) * self._row - sum(self._below[:row])

    def _write(self, x: float, y: float, texts: _Texts, which: int, **options: Any) -> None:
        if text := texts.broken[which]:
            options = {"horizontalalignment": "center", "verticalalignment": "center"} | options
            centered = {"multialignment": "center", "parse_math": False}
            self._page.text(x, y, text, fontsize=texts.size, **centered, **options)


class _Texts:
    """Texts of one size, broken into lines that fit into their room."""

    def __init__(self, texts: Sequence[str], layout: PanelLayout, room: float, **options: Any) -> None:
        self.broken, self.size = fit_texts(texts, layout.width_of, room, **options)
        self._line = layout.line_height(self.size)

    def height(self, part: slice = slice(None)) -> float:
        """Pixels down that the tallest of a part takes, with a gap; 0 where all are empty."""
        return max((self._line * (text.count("\n") + 1) + _GAP / 2 for text in self.broken[part] if text), default=0.0)

    def more_lines(self, part: slice = slice(None)) -> int:
        """Lines of the tallest of a part beyond the first."""
        return max(text.count("\n") for text in self.broken[part])
