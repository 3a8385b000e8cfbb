# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import torch
from ignite.engine import Engine, Events
from monai.utils import convert_to_tensor

from monai_diffae.handlers.sources import result_stem

__all__ = ["SliceVolumeSaver"]


class SliceVolumeSaver:
    """Puts results of slices together and writes a NIfTI volume for every source volume.

    Written is ``<output_dir>/<stem>_<postfix>.nii.gz``: the processed slices in their order, on the grid that the
    network saw, with an affine that places every slice where it lies in the source. Folders of the source below
    ``data_root_dir`` are kept. Values are what the network gives (about [-1, 1]). Where volumes are joined
    (:class:`~monai_diffae.data.ImageChains`), the stem is ``<first>_to_<last>``.

    Slices of a volume must follow each other, as :class:`~monai_diffae.data.VolumeSlices` gives them; they may be
    spread over batches. A file appears when it is complete.

    Args:
        output_dir: folder to write to.
        keys: from a key of the evaluator's output to the postfix of its files, empty for none. Outputs are
            ``(1, X, Y)``, or ``(N, 1, X, Y)`` for a series, which becomes the fourth dimension of the file.
        data_root_dir: folder of the sources.
    """

    def __init__(
        self, output_dir: str | os.PathLike, keys: Mapping[str, str], data_root_dir: str | os.PathLike = ""
    ) -> None:
        self.output_dir = Path(output_dir)
        self.keys = dict(keys)
        self.data_root_dir = data_root_dir

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator whose batch and output are lists of dictionaries (MONAI's ``decollate=True``).
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self._volume: int | None = None
        self._stem = ""
        self._slices: list[dict] = []

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output):
            if self._volume is not None and int(item["volume"]) != self._volume:
                self._write()
            self._volume = int(item["volume"])
            self._stem = result_stem(item, self.data_root_dir)
            self._slices.append(
                {"slice": int(item.get("slice", 0)), "affine": item["image"].affine.cpu()}
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
            data = volume.flatten(0, 1).movedim(0, -1) if volume.ndim == 5 else volume[0]
            path = self.output_dir / f"{self._stem}{'_' if postfix else ''}{postfix}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".partial.{path.name}")
            # Not by MONAI's SaveImage, which cannot write a volume of one slice.
            nib.save(nib.Nifti1Image(data.float().numpy(), affine.numpy()), partial)
            os.replace(partial, path)
        self._slices, self._volume = [], None
