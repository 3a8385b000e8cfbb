# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.utils import convert_to_tensor

from monai_diffae.results.evaluator_handler import EvaluatorHandler
from monai_diffae.results.sources import result_stem, source_file
from monai_diffae.support.finite import check_finite

__all__ = ["SliceCollector"]


class SliceCollector(EvaluatorHandler):
    """Collects results of slices until a volume is complete, or takes volumes; what is done with it, subclasses say.

    Slices of a volume must follow each other, as :class:`~monai_diffae.data.VolumeSlices` gives them; they may be
    spread over batches.

    Args:
        output_dir: folder to write to.
        keys: of the evaluator's output, what is collected. Empty: nothing is done.
        data_root_dir: folder of the sources; their folders below it are kept in the names of results.
        spatial_dims: 2 for results of slices, 3 for results of whole volumes.

    Raises:
        ValueError: for other ``spatial_dims``.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        keys: Iterable[str],
        data_root_dir: str | os.PathLike = "",
        spatial_dims: int = 2,
    ) -> None:
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 (slices) or 3 (whole volumes), got {spatial_dims}.")
        self.output_dir = Path(output_dir)
        self._collected = tuple(keys)
        self.data_root_dir = data_root_dir
        self.spatial_dims = spatial_dims

    def attach(self, engine: Engine) -> None:
        """As every handler's; where nothing is collected, nothing is done."""
        if self._collected:
            super().attach(engine)

    def _write_volume(self, volume: int, stem: str, slices: Sequence[dict[str, Any]]) -> None:
        """
        Args:
            volume: its index in the data set.
            stem: of the files of its results, with folders.
            slices: in their order, dictionaries with ``slice`` (index), ``affine`` and the collected keys; of whole
                volumes one, with the collected keys of all slices.
        """
        raise NotImplementedError(f"{type(self).__name__} writes nothing.")

    def _start(self, engine: Engine) -> None:
        self._volume: int | None = None
        self._stem = ""
        self._slices: list[dict[str, Any]] = []

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output):
            if self._volume is not None and int(item["volume"]) != self._volume:
                self._complete()
            self._volume = int(item["volume"])
            self._stem = result_stem(item, self.data_root_dir)
            results = {key: convert_to_tensor(output[key], track_meta=False).cpu() for key in self._collected}
            for key, result in results.items():
                check_finite(result, key, source_file(item, self.data_root_dir))
            self._slices.append({"slice": int(item.get("slice", 0)), "affine": item["image"].affine.cpu()} | results)
            if self.spatial_dims == 3:
                self._complete()

    def _finish(self, engine: Engine) -> None:
        self._complete()

    def _complete(self) -> None:
        if self._volume is not None:
            self._write_volume(self._volume, self._stem, self._slices)
        self._slices, self._volume = [], None

    def _is_series(self, slices: Sequence[dict[str, Any]], key: str) -> bool:
        return slices[0][key].ndim == self.spatial_dims + 2

    def _indices(self, slices: Sequence[dict[str, Any]]) -> list[int]:
        """Place of each of :meth:`_stack`'s slices in the prepared volume."""
        if self.spatial_dims == 3:
            return list(range(slices[0][self._collected[0]].shape[-1]))
        return [s["slice"] for s in slices]

    def _stack(self, slices: Sequence[dict[str, Any]], key: str) -> torch.Tensor:
        """A result of all slices, ``(1, X, Y, K)``, or ``(N, X, Y, K)`` for a series."""
        results = [s[key] for s in slices]
        volume = results[0] if self.spatial_dims == 3 else torch.stack(results, dim=-1)  # a series has N before
        return volume.flatten(0, 1) if volume.ndim == 5 else volume
