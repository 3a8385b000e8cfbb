# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel as nib
import torch

from monai_diffae.results.nifti_files import save_nifti
from monai_diffae.results.slice_collection import SliceCollector

__all__ = ["SliceVolumeSaver"]


class SliceVolumeSaver(SliceCollector):
    """Puts results of slices together, or takes volumes, and writes a NIfTI volume for every source volume.

    Written is ``<output_dir>/<stem>_<postfix>.nii.gz``: the processed slices in their order, on the grid that the
    network saw, with an affine that places every slice where it lies in the source. Folders of the source below
    ``data_root_dir`` are kept. Values are what the network gives (about [-1, 1]). Where volumes are joined
    (:class:`~monai_diffae.data.ImageChains`), the stem is ``<first>_to_<last>``.

    Where slices are unevenly spaced (empty ones left out, say), those between are not a number.

    Slices of a volume must follow each other, as :class:`~monai_diffae.data.VolumeSlices` gives them; they may be
    spread over batches. A file appears when it is complete.

    Args:
        output_dir: folder to write to.
        keys: from a key of the evaluator's output to the postfix of its files, empty for none. Outputs are
            ``(1, *spatial)``, or ``(N, 1, *spatial)`` for a series, which becomes the fourth dimension of the file.
        data_root_dir: folder of the sources.
        spatial_dims: 2 for results of slices, 3 for results of whole volumes.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        keys: Mapping[str, str],
        data_root_dir: str | os.PathLike = "",
        spatial_dims: int = 2,
    ) -> None:
        super().__init__(output_dir, keys, data_root_dir, spatial_dims)
        self.keys = dict(keys)

    def _write_volume(self, volume: int, stem: str, slices: Sequence[dict[str, Any]]) -> None:
        affine, indices = slices[0]["affine"].clone(), self._indices(slices)
        stride = math.gcd(*(k - indices[0] for k in indices[1:])) or 1
        affine[:, 2] *= stride
        places = [(k - indices[0]) // stride for k in indices]
        for key, postfix in self.keys.items():
            results = self._stack(slices, key)
            stacked = results.new_full((*results.shape[:-1], places[-1] + 1), math.nan, dtype=torch.float32)
            stacked[..., places] = results.float()
            data = stacked[0] if len(stacked) == 1 and not self._is_series(slices, key) else stacked.movedim(0, -1)
            path = self.output_dir / f"{stem}{'_' if postfix else ''}{postfix}.nii.gz"
            # Not by MONAI's SaveImage, which cannot write a volume of one slice.
            save_nifti(nib.Nifti1Image(data.float().numpy(), affine.numpy()), path)
