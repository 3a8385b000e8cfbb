# SPDX-License-Identifier: Apache-2.0
"""Where the panels and texts of a figure stand.

All is computed from the sizes of the texts. matplotlib's own layout draws the whole figure several times for that,
which took most of the time of short runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

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
        self._top = 2 * _GAP + self._titles.height() + self._heading.height()
        self._row = (self._size[1] - self._top - _GAP - sum(self._below)) / self.num_rows

    def width_of(self, line: str, size: float) -> float:
        """Of a line of text, in pixels."""
        return self._renderer.get_text_width_height_descent(line, FontProperties(size=size), ismath=False)[0]

    def line_height(self, size: float) -> float:
        """Of one line of several, in pixels."""
        return 1.2 * self._renderer.get_text_width_height_descent("lp", FontProperties(size=size), ismath=False)[1]

    def add_axes(self, row: int, column: int, shape: Sequence[int]) -> Axes:
        """Axes without ticks for an image of ``shape`` (rows, columns), as large as there is room, with its texts."""
        room = self._column - _GAP, self._row - _GAP
        scale = min(room[0] / shape[1], room[1] / shape[0])
        width, height = scale * shape[1], scale * shape[0]
        x = self._left + (column + 0.5) * self._column - width / 2
        y = self._size[1] - self._top - (row + 0.5) * self._row - sum(self._below[:row]) - height / 2
        axes = self._axes((x, y, width, height))
        axes.set_xticks([])
        axes.set_yticks([])
        if row == 0:
            axes.set_title(self._titles.broken[column], y=1, fontsize=self._titles.size, parse_math=False, pad=4)
        if column == 0:
            axes.set_ylabel(self._labels.broken[row], fontsize=self._labels.size, parse_math=False)
            axes.yaxis.set_label_coords(-_GAP / width, 0.5)
        caption = self._captions.broken[row * self.num_columns + column]
        axes.set_xlabel(caption, fontsize=self._captions.size, parse_math=False)
        axes.xaxis.set_label_coords(0.5, -_GAP / 2 / height)
        return axes

    def add_bar_axes(self) -> Axes:
        """Axes for the colour bar."""
        height = self._size[1]
        x = self._left + self.num_columns * self._column + _GAP
        return self._axes((x, 2 * _GAP, 0.1 * self.figure.dpi, height - self._top - 3 * _GAP))

    def add_heading(self) -> None:
        """Write the heading, if there is one."""
        if text := self._heading.broken[0]:
            y = 1 - _GAP / self._size[1]
            self.figure.suptitle(text, y=y, fontsize=self._heading.size, parse_math=False, verticalalignment="top")

    def _axes(self, box: tuple[float, ...]) -> Axes:
        (x, y, width, height), (all_width, all_height) = box, self._size
        return self.figure.add_axes((x / all_width, y / all_height, width / all_width, height / all_height))


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
