# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import html
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from monai_diffae.results.metric_tables import metric_tables
from monai_diffae.results.panels import FigureRow, FigureStyle, save_figure
from monai_diffae.results.plots import save_boxes, save_plot
from monai_diffae.support.atomic_files import replacing

__all__ = ["EvaluationReport"]

_COLUMNS = ("section", "measure", "of", "value", "low", "high", "interval", "unit", "count")
_STYLE = (
    "body{font-family:sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#222}img{max-width:100%}"
    "table{border-collapse:collapse;font-size:.85rem;margin-bottom:1.2rem}td.number{font-variant-numeric:tabular-nums}"
    "td,th{padding:.15rem .8rem .15rem 0;text-align:left;border-bottom:1px solid #ddd;vertical-align:top}"
)


class EvaluationReport:
    """Writes what an evaluation found: ``metrics.csv``, ``metrics.md``, ``index.html`` and ``figures/``.

    Args:
        output_dir: folder for them.
        card: of the model: facts by title, what it was trained on, intended use, limits.
        title: of the page.
        y_up: the second spatial axis of images points up (volumes in RAS orientation); False for pictures.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        card: Mapping[str, str],
        title: str = "Evaluation",
        y_up: bool = True,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.card, self.title = dict(card), title
        self.style = FigureStyle(y_up=y_up)

    def write(self, sections: Sequence[Any]) -> None:
        """
        Args:
            sections: of which each has ``name``, ``title``, ``text``, ``measures``, ``skipped``, ``curves``,
                ``spreads``, ``galleries`` and ``tables`` (a file ``<name>.csv`` each), as
                :class:`monai_diffae.metrics.evaluation.Findings`. Those that are known so far: each call replaces what
                an earlier one wrote.
        """
        self.output_dir.mkdir(parents=True, exist_ok=True)
        figures = {section.name: self._draw(section) for section in sections}
        self._replace("metrics.csv", _csv(sections))
        for section in sections:
            for name, rows in section.tables.items():
                self._replace(f"{name}.csv", _rows_csv(rows))
        self._replace("metrics.md", self._markdown(sections, figures))
        self._replace("index.html", self._html(sections, figures))

    def _replace(self, name: str, text: str) -> None:
        with replacing(self.output_dir / name) as partial:
            partial.write_text(text, encoding="utf-8", newline="")

    def _draw(self, section: Any) -> dict[str, str]:
        """The figures of a section: from path to caption."""
        drawn = {}
        for plot in dict.fromkeys(curve.plot for curve in section.curves):
            path = f"figures/{_file_name(section.name, plot)}.png"
            save_plot(self.output_dir / path, [curve for curve in section.curves if curve.plot == plot])
            drawn[path] = plot
        for plot in dict.fromkeys(spread.plot for spread in section.spreads):
            path = f"figures/{_file_name(section.name, plot)}.png"
            save_boxes(self.output_dir / path, [spread for spread in section.spreads if spread.plot == plot])
            drawn[path] = plot
        for gallery in section.galleries:
            path = f"figures/{_file_name(section.name, gallery.name)}.png"
            columns = [
                {"key": str(k), "title": title, "signed": k in gallery.signed} for k, title in enumerate(gallery.titles)
            ]
            rows = [
                FigureRow(label, {str(k): _plane(image) for k, image in enumerate(images)})
                for label, images in zip(gallery.labels, gallery.images, strict=True)
            ]
            save_figure(self.output_dir / path, columns, rows, self.style)
            drawn[path] = gallery.name
        return drawn

    def _markdown(self, sections: Sequence[Any], figures: Mapping[str, Mapping[str, str]]) -> str:
        lines = [f"# {self.title}", "", "| | |", "|---|---|"]
        lines += [f"| {_cell(name)} | {_cell(text)} |" for name, text in self.card.items()]
        for section in sections:
            lines += ["", f"## {section.title}", "", section.text, ""]
            for head, rows in metric_tables(section.measures):
                lines += [_row(head), "|---" * len(head) + "|", *map(_row, rows), ""]
            if section.skipped:
                lines += ["Skipped:", ""]
                lines += [f"- {_cell(what)}: {_cell(why)}" for what, why in section.skipped.items()]
            lines += [f"\n![{_cell(caption)}]({path})" for path, caption in figures[section.name].items()]
        return "\n".join(lines) + "\n"

    def _html(self, sections: Sequence[Any], figures: Mapping[str, Mapping[str, str]]) -> str:
        esc = html.escape
        parts = [
            f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{esc(self.title)}</title>",
            f"<style>{_STYLE}</style><h1>{esc(self.title)}</h1><h2>Model card</h2><table>",
            *(f"<tr><th>{esc(name)}</th><td>{esc(text)}</td></tr>" for name, text in self.card.items()),
            "</table>",
        ]
        for section in sections:
            parts.append(f"<h2>{esc(section.title)}</h2><p>{esc(section.text)}</p>")
            parts += [
                f"<figure><img src='{esc(path)}' alt='{esc(caption)}'><figcaption>{esc(caption)}</figcaption></figure>"
                for path, caption in figures[section.name].items()
            ]
            for head, rows in metric_tables(section.measures):
                parts.append("<table><tr>" + "".join(f"<th>{esc(text)}" for text in head) + "</tr>")
                for first, *others in rows:
                    cells = "".join(f"<td class='number'>{esc(text)}</td>" for text in others)
                    parts.append(f"<tr><td>{esc(first)}</td>{cells}</tr>")
                parts.append("</table>")
            if section.skipped:
                items = "".join(f"<li>{esc(what)}: {esc(why)}</li>" for what, why in section.skipped.items())
                parts.append(f"<p>Skipped:</p><ul>{items}</ul>")
        return "\n".join([*parts, "</html>\n"])


def _csv(sections: Sequence[Any]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for section in sections:
        for m in section.measures:
            numbers = ["" if math.isnan(number) else f"{number:.6g}" for number in (m.value, m.low, m.high)]
            table.writerow([section.name, m.measure, m.of, *numbers, m.interval, m.unit, m.count])
    return text.getvalue()


def _rows_csv(rows: Sequence[Mapping[str, object]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|").replace("\n", " ")


def _file_name(section: str, name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", f"{section}_{name}").strip("_")


def _plane(image: torch.Tensor) -> torch.Tensor:
    """The image, or the middle cut of a volume across its last axis."""
    image = image.float().cpu()
    return image[..., image.shape[-1] // 2] if image.ndim == 4 else image
