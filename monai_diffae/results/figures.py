# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.utils import convert_to_tensor

from monai_diffae.results.chain_stretches import chain_stretches
from monai_diffae.results.cuts import cut_names, cut_places, cut_volume
from monai_diffae.results.evaluator_handler import EvaluatorHandler
from monai_diffae.results.panels import FigureRow, FigureStyle, caption_keys, check_columns, image_keys, save_figure
from monai_diffae.results.sources import following_images, source_file
from monai_diffae.support.names import source_stem

__all__ = ["FigureSaver"]


class FigureSaver(EvaluatorHandler):
    """Draws results of an evaluator: a row an item, a column an image. A volume has three rows, orthogonal cuts of it.

    An item of a chain (:class:`~monai_diffae.data.ImageChains`) has a row, or three, from each image to the next.

    Args:
        filename: PNG file; written when the run has ended.
        columns: dictionaries with ``key`` (of the evaluator's batch or output; ``(C, *spatial)``, or
            ``(N, C, *spatial)`` for N columns), ``title`` (one, or a list of N), and optionally ``minus``, the key of
            an image to subtract, or
            ``signed: true``: both are drawn in blue (negative) and red (positive). ``caption`` is the key of a number,
            or of N, in the output, written below the images; or a list of such keys, whose numbers stand side by side.
        max_rows: items at most. Of more, evenly spaced ones are shown; or
        rank_by: key of a number in the output: half of the rows show the items where it is highest, half those where
            it is lowest.
        value_range: black and white.
        difference_range: blue and red stand for minus and plus this.
        y_up: the spatial axes are x to the right and y upwards (volumes in RAS orientation), or rows from the top and
            columns (pictures).
        data_root_dir: files in it are named relative to it.
        spatial_dims: 2 for images, 3 for volumes.
        cuts_at: of volumes, key of a result: the cuts go where its magnitude is largest, as the middle of a volume may
            show nothing of an edit. ``None``: through the middle.

    Raises:
        ValueError: for a column without ``key`` and ``title``, or with entries that are not known, ``max_rows`` below 1
            and other ``spatial_dims``.
    """

    def __init__(
        self,
        filename: str | os.PathLike,
        columns: Sequence[Mapping[str, Any]],
        max_rows: int = 8,
        rank_by: str | None = None,
        value_range: Sequence[float] = (-1.0, 1.0),
        difference_range: float = 0.5,
        y_up: bool = True,
        data_root_dir: str | os.PathLike = "",
        spatial_dims: int = 2,
        cuts_at: str | None = None,
    ) -> None:
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 (images) or 3 (volumes), got {spatial_dims}.")
        if max_rows < 1:
            raise ValueError(f"max_rows must be 1 or more, got {max_rows}.")
        check_columns(columns)
        self.filename = Path(filename)
        self.columns = columns
        self.max_rows = max_rows
        self.rank_by = rank_by
        self.style = FigureStyle(value_range, difference_range, y_up)
        self.data_root_dir = data_root_dir
        self.spatial_dims = spatial_dims
        self.cuts_at = cuts_at

    def _start(self, engine: Engine) -> None:
        self._rows: list[list[dict]] = []  # of each item
        self._count, self._stride = 0, 1

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output):
            if self.rank_by is not None:
                self._rows.append(self._item_rows(item, output))
                if len(self._rows) > 2 * self.max_rows:
                    self._rows = self._extremes()
            else:
                if self._count % self._stride == 0:
                    self._rows.append(self._item_rows(item, output))
                if len(self._rows) > 2 * self.max_rows:
                    self._rows = self._rows[::2]
                    self._stride *= 2
            self._count += 1

    def _item_rows(self, item: Mapping, output: Mapping) -> list[dict]:
        keys, ndim = {column["key"] for column in self.columns}, self.spatial_dims + 2
        series = {key for key in keys if getattr(output.get(key), "ndim", 0) == ndim}
        stretches = chain_stretches(item, output, series)
        if self.spatial_dims == 2:
            return [self._row(*stretch) for stretch in stretches]
        return [row for stretch in stretches for row in self._cut_rows(*stretch)]

    def _cut_rows(self, item: Mapping, output: Mapping) -> list[dict]:
        row, names = self._row(item, output), cut_names(item["image"].affine)
        places = cut_places(item["image"].shape[1:], None if self.cuts_at is None else output[self.cuts_at])
        cuts = {key: cut_volume(volume, places) for key, volume in row["images"].items()}
        rows = [
            {"label": f"{row['label']}\n{name}", "images": {key: planes[k] for key, planes in cuts.items()}}
            for k, name in enumerate(names)
        ]
        # Its numbers are said once.
        return [
            cut | {"rank": row["rank"] if k == 0 else None, "captions": row["captions"] if k == 2 else {}}
            for k, cut in enumerate(rows)
        ]

    def _row(self, item: Mapping, output: Mapping) -> dict:
        images = {
            key: convert_to_tensor(output.get(key, item.get(key)), track_meta=False).float().cpu()
            for key in image_keys(self.columns)
        }
        label = source_stem(source_file(item, self.data_root_dir)).split("/")[-1]
        for image in following_images(item):
            label += f"\nto {source_stem(source_file({'image': image}, self.data_root_dir)).split('/')[-1]}"
        if "slice" in item:
            label += f"\nslice {int(item['slice'])}"
        rank = None if self.rank_by is None else float(output[self.rank_by])
        captions = {
            key: torch.as_tensor(output[key]).flatten().tolist()
            for column in self.columns
            for key in caption_keys(column)
        }
        return {"label": label, "images": images, "rank": rank, "captions": captions}

    def _extremes(self) -> list[list[dict]]:
        rows = sorted(self._rows, key=lambda item_rows: -item_rows[0]["rank"])
        low = self.max_rows // 2
        return rows if len(rows) <= self.max_rows else rows[: self.max_rows - low] + rows[len(rows) - low :]

    def _finish(self, engine: Engine) -> None:
        if not self._rows:
            return
        if self.rank_by is not None:
            shown = self._extremes()
        else:
            places = np.linspace(0, len(self._rows) - 1, min(self.max_rows, len(self._rows))).round().astype(int)
            shown = [self._rows[place] for place in places]
        rows = [row for item_rows in shown for row in item_rows]
        save_figure(self.filename, self.columns, [self._labelled(row) for row in rows], self.style)

    def _labelled(self, row: Mapping) -> FigureRow:
        label = row["label"] if row["rank"] is None else f"{row['label']}\n{self.rank_by} {row['rank']:+.1f}"
        return FigureRow(label, row["images"], row["captions"])
