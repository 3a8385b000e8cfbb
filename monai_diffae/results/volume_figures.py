# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine

from monai_diffae.results.cuts import AXES, cut_names, cut_places, cut_volume
from monai_diffae.results.panels import FigureRow, FigureStyle, caption_keys, check_columns, image_keys, save_figure
from monai_diffae.results.slice_collection import SliceCollector
from monai_diffae.results.written_files import WrittenFiles
from monai_diffae.support.kept import made_from

__all__ = ["VolumeFigureSaver"]


class VolumeFigureSaver(SliceCollector):
    """Draws a figure of every volume beside its other results, ``<output_dir>/<stem>_figure.png``.

    A row is a slice, as the network sees it, with its index in the prepared volume and the place of its centre in the
    world of the source's affine (RAS for NIfTI), as ``latents.csv`` has them; of a whole volume, three orthogonal cuts.
    One colour bar says what the colours of all differences stand for, in the unit of the images: -1 black, 1 white.

    Slices of a volume must follow each other, as :class:`~monai_diffae.data.VolumeSlices` gives them; they may be
    spread over batches. One volume is held in memory. A file appears when it is complete.

    Args:
        output_dir: folder to write to.
        columns: as :class:`~monai_diffae.results.FigureSaver` takes them, with keys of the evaluator's output.
        data_root_dir: folder of the sources; their folders below it are kept.
        max_rows: slices of a volume, at most. Of more, evenly spaced ones are shown; or
        largest: key of a result: the slices where its magnitude is largest, in their order. Cuts of a whole volume go
            through the planes where it is largest, and through the middle without it.
        value_range: black and white.
        difference_range: blue and red stand for minus and plus this; ``None``: for the largest of the volume's
            differences that are shown, in round numbers.
        overwrite: draw all figures; False leaves those alone that a former run has drawn of the same results.
        spatial_dims: 2 for results of slices, 3 for results of whole volumes.

    Raises:
        ValueError: for columns that :class:`~monai_diffae.results.FigureSaver` refuses, ``max_rows`` below 1 and other
            ``spatial_dims``; and when it runs, for keys that the evaluator's output lacks.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        columns: Sequence[Mapping[str, Any]],
        data_root_dir: str | os.PathLike = "",
        max_rows: int = 4,
        largest: str | None = None,
        value_range: Sequence[float] = (-1.0, 1.0),
        difference_range: float | None = None,
        overwrite: bool = True,
        spatial_dims: int = 2,
    ) -> None:
        check_columns(columns)
        if max_rows < 1:
            raise ValueError(f"max_rows must be 1 or more, got {max_rows}.")
        self._images = image_keys(columns)
        self._numbers = [key for column in columns for key in caption_keys(column)]
        keys = dict.fromkeys([*self._images, *self._numbers, *([largest] if largest else [])])
        super().__init__(output_dir, keys, data_root_dir, spatial_dims)
        self.columns = [dict(column) for column in columns]
        self.max_rows = max_rows
        self.largest = largest
        self.style = FigureStyle(value_range, difference_range, colour_bar=True)
        self.overwrite = overwrite

    def _collect(self, engine: Engine) -> None:
        missing = set(self._collected) - set(engine.state.output[0])
        if missing:
            raise ValueError(
                f"The columns need {', '.join(sorted(missing))}, which the results lack. Figures of volumes show "
                "results of single volumes; where there are none, switch them off: --volume_figures false."
            )
        super()._collect(engine)

    def _write_volume(self, volume: int, stem: str, slices: Sequence[dict[str, Any]]) -> None:
        path = self.output_dir / f"{stem}_figure.png"
        shown = self._shown(slices)
        basis = made_from(settings=[self.columns, self.max_rows, self.style, stem], results=shown)
        written = WrittenFiles(self.output_dir, f"{stem}_figure", basis)
        if not self.overwrite and written.are([path]):
            return
        rows = [row for one in shown for row in (self._cuts(one) if self.spatial_dims == 3 else [self._row(one)])]
        save_figure(path, self.columns, rows, self.style, heading=stem)
        written.record([path])

    def _shown(self, slices: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        count = min(self.max_rows, len(slices))
        if self.largest is None:
            places = np.linspace(0, len(slices) - 1, count).round().astype(int).tolist()
        else:
            amounts = torch.stack([one[self.largest].float().abs().mean() for one in slices])
            places = sorted(amounts.topk(count).indices.tolist())
        return [slices[place] for place in places]

    def _row(self, one: dict[str, Any]) -> FigureRow:
        images = {key: one[key].float() for key in self._images}
        shape = images[self._images[0]].shape[-2:]
        label = _place(one["affine"], 0, one["slice"], [(n - 1) / 2 for n in shape] + [0.0])
        return FigureRow(label, images, self._captions(one))

    def _cuts(self, one: dict[str, Any]) -> list[FigureRow]:
        """Of a whole volume; its numbers stand below the last one."""
        shape = one[self._images[0]].shape[-3:]
        places = cut_places(shape, None if self.largest is None else one[self.largest].float())
        cuts = {key: cut_volume(one[key].float(), places) for key in self._images}
        rows = []
        for k, place in enumerate(places):
            center = [(n - 1) / 2 for n in shape]
            center[AXES[k]] = place
            images = {key: planes[k] for key, planes in cuts.items()}
            captions = self._captions(one) if k == len(places) - 1 else {}
            rows.append(FigureRow(_place(one["affine"], k, place, center), images, captions))
        return rows

    def _captions(self, one: dict[str, Any]) -> dict[str, list[float]]:
        return {key: one[key].flatten().tolist() for key in self._numbers}


def _place(affine: torch.Tensor, cut: int, index: int, center: Sequence[float]) -> str:
    """What stands beside a slice.

    Args:
        affine: of the grid that ``center`` counts on, ``(4, 4)``.
        cut: which of ``AXES`` it lies across.
        index: in the prepared volume.
        center: of the slice.
    """
    x, y, z = (affine.double() @ torch.tensor([*center, 1.0], dtype=torch.float64)).tolist()[:3]
    return f"{cut_names(affine)[cut]} slice {index}\n({x:.1f}, {y:.1f}, {z:.1f}) mm"
