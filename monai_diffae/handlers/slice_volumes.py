# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.transforms import SaveImage
from monai.utils import convert_to_tensor

from monai_diffae.handlers.sources import source_file, source_stem

__all__ = ["SliceVolumeSaver"]


class SliceVolumeSaver:
    """Puts results of slices together and writes a NIfTI volume for every source volume.

    Written is ``<output_dir>/<stem>_<postfix>.nii.gz``: the processed slices in their order, on the grid that the
    network saw, with an affine that places every slice where it lies in the source. Folders of the source below
    ``data_root_dir`` are kept. Values are what the network gives (about [-1, 1]).

    Slices of a volume must follow each other, as :class:`~monai_diffae.data.VolumeSlices` gives them; they may be
    spread over batches. A file appears when it is complete.

    Args:
        output_dir: folder to write to.
        keys: from a key of the evaluator's output to the postfix of its files. Outputs are ``(1, X, Y)``, or
            ``(N, 1, X, Y)`` for a series, which becomes the fourth dimension of the file.
        data_root_dir: folder of the sources.
    """

    def __init__(
        self, output_dir: str | os.PathLike, keys: Mapping[str, str], data_root_dir: str | os.PathLike = ""
    ) -> None:
        self.output_dir = Path(output_dir)
        self.keys = dict(keys)
        self.data_root_dir = data_root_dir
        self._volume: int | None = None
        self._stem = ""
        self._slices: list[dict] = []

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator whose batch and output are lists of dictionaries (MONAI's ``decollate=True``).
        """
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output):
            if self._volume is not None and int(item["volume"]) != self._volume:
                self._write()
            self._volume = int(item["volume"])
            self._stem = source_stem(source_file(item, self.data_root_dir))
            self._slices.append(
                {"slice": int(item["slice"]), "affine": item["image"].affine.cpu()}
                | {key: convert_to_tensor(output[key], track_meta=False).cpu() for key in self.keys}
            )

    def _write(self, engine: Engine | None = None) -> None:
        if not self._slices:
            return
        affine = self._slices[0]["affine"].clone()
        if len(self._slices) > 1:
            affine[:, 2] *= self._slices[1]["slice"] - self._slices[0]["slice"]
        for key, postfix in self.keys.items():
            volume = torch.stack([s[key] for s in self._slices], dim=-1)  # (1, X, Y, Z) or (N, 1, X, Y, Z)
            channels_first = volume.flatten(0, 1) if volume.ndim == 5 else volume
            path = self.output_dir / f"{self._stem}_{postfix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            save = SaveImage(output_ext=".nii.gz", resample=False, print_log=False)
            save(MetaTensor(channels_first, affine=affine), filename=partial)
            os.replace(f"{partial}.nii.gz", f"{path}.nii.gz")
        self._slices, self._volume = [], None
