# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from monai_diffae.results.nifti_files import StoredVolume, read_stored_volume, save_nifti
from monai_diffae.results.slice_collection import SliceCollector
from monai_diffae.results.source_grid import PlacedSlices, place_slices
from monai_diffae.results.written_files import WrittenFiles
from monai_diffae.support.fingerprints import file_states
from monai_diffae.support.kept import made_from
from monai_diffae.support.pseudonyms import check_identifiers

__all__ = ["SourceVolumeSaver"]

_MODES = ("decoded", "residual", "difference")


class SourceVolumeSaver(SliceCollector):
    """Puts results of slices back into the volumes that they were taken from, and results of volumes into theirs.

    Written is ``<output_dir>/<stem>_<postfix>.nii.gz``: the source with its shape, affine, header (but for text in it)
    and data type, other intensities where slices were processed, and every other voxel unchanged to the last bit.
    Folders of the source below ``data_root_dir`` are kept. A file appears when it is complete.

    Slices of a volume must follow each other, as :class:`~monai_diffae.data.VolumeSlices` gives them; they may be
    spread over batches.

    Args:
        output_dir: folder to write to.
        files: what is written of every volume, dictionaries with ``postfix``, ``key`` and ``mode``:

            - ``decoded``: the result takes the place of the source;
            - ``residual``: the source plus what distinguishes the result from that under ``minus``, so that the
              source keeps the detail that the network's grid has no room for;
            - ``difference``: that difference alone, signed float32 in the source's unit, zero elsewhere.

            (``decoded`` has no use for ``minus``.) Results are ``(1, *spatial)``, or ``(N, 1, *spatial)`` for a
            series, which becomes the fourth dimension; the one under ``minus`` is no series. Values outside [-1, 1]
            are clipped. Empty: nothing is written. Slices between thick slices of the source, which hold none of its
            voxels, are warned of.
        volumes: the data set whose slices (or volumes) the evaluator gets, items with ``image`` ``(1, X, Y, Z)``, a
            MetaTensor that came out of ``preprocessing``.
        preprocessing: its transforms; see :func:`~monai_diffae.results.source_grid.place_slices`.
        data_root_dir: folder of the sources.
        channel: of sources with four dimensions, the one that was processed.
        load: MONAI transform of ``{"image": file}``, for sources that are not NIfTI; they become NIfTI.
        overwrite: write all files; False leaves those alone that a former run has written of the same results.
        spatial_dims: 2 for results of slices, 3 for results of whole volumes.
        identifiers: of the text in headers, ``pseudonyms`` for none or ``keep``, see
            :func:`~monai_diffae.results.nifti_files.read_stored_volume`.

    Raises:
        ValueError: for a mode that is not known, or one without ``minus`` that needs it.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        files: Sequence[Mapping[str, str]],
        volumes: Sequence[Mapping[str, Any]],
        preprocessing: Compose,
        data_root_dir: str | os.PathLike = "",
        channel: int | None = None,
        load: Callable | None = None,
        overwrite: bool = True,
        spatial_dims: int = 2,
        identifiers: str = "pseudonyms",
    ) -> None:
        for entry in files:
            needed = {"postfix", "key", "mode"} | (set() if entry.get("mode") == "decoded" else {"minus"})
            if not needed <= set(entry) <= needed | {"minus"} or entry["mode"] not in _MODES:
                raise ValueError(
                    f"A file has postfix, key and mode ({', '.join(_MODES)}), and for the last two modes minus; "
                    f"got {dict(entry)}."
                )
        keys = dict.fromkeys(entry[name] for entry in files for name in ("key", "minus") if name in entry)
        super().__init__(output_dir, keys, data_root_dir, spatial_dims)
        self.files = [dict(entry) for entry in files]
        self.volumes = volumes
        self.preprocessing = preprocessing
        self.channel = channel
        self.load = load
        self.overwrite = overwrite
        self.identifiers = check_identifiers(identifiers)

    def _write_volume(self, volume: int, stem: str, slices: Sequence[dict[str, Any]]) -> None:
        image = self.volumes[volume]["image"]
        source = image.meta["filename_or_obj"]
        stacks = {key: self._stack(slices, key).float() for key in self._collected}
        series = {key: self._is_series(slices, key) for key in self._collected}
        indices = self._indices(slices)
        paths = [self.output_dir / f"{stem}_{entry['postfix']}.nii.gz" for entry in self.files]
        written = WrittenFiles(self.output_dir, stem, self._basis(image, source, stacks, indices))
        if not self.overwrite and written.are(paths):
            return
        stored = read_stored_volume(source, self.channel, self.load, self.identifiers)
        shape = stored.grid(stored.numbers).shape
        affine = torch.as_tensor(np.asarray(image.meta.get("original_affine", stored.affine)))
        placed = place_slices(torch.cat(list(stacks.values())), indices, image, self.preprocessing, affine, shape)
        if placed.unseen:
            _warn_of_thick_slices(source, placed.unseen, len(indices), image.affine, affine)
        values = dict(zip(stacks, placed.values.split([len(stack) for stack in stacks.values()])))
        for entry, path in zip(self.files, paths):
            result = values[entry["key"]]
            if entry["mode"] != "decoded":
                result = result - values[entry["minus"]]
            parts = [self._numbers(stored, placed, one.numpy(), entry["mode"]) for one in result]
            numbers = parts[0]
            if series[entry["key"]]:
                numbers = np.stack([stored.grid(part) for part in parts], axis=-1)
            save_nifti(stored.map_image(numbers) if entry["mode"] == "difference" else stored.image(numbers), path)
        written.record(paths)

    @staticmethod
    def _numbers(stored: StoredVolume, placed: PlacedSlices, result: np.ndarray, mode: str) -> np.ndarray:
        covered = placed.covered.numpy()
        if mode != "difference":
            return stored.changed(placed.box, covered, result, add=mode == "residual")
        difference = np.zeros(stored.grid(stored.numbers).shape, dtype=np.float32, order="F")  # as files have it
        difference[placed.box][covered] = result[covered]
        return difference.reshape(stored.numbers.shape[:3])

    def _basis(
        self, image: MetaTensor, source: str | Sequence[str], stacks: Mapping[str, torch.Tensor], indices: Sequence[int]
    ) -> dict[str, str]:
        """All that the files depend on."""
        return made_from(
            source=file_states([source] if isinstance(source, (str, os.PathLike)) else source),
            image=[image.as_tensor(), image.affine],
            results=stacks,
            settings=[self.files, self.channel, self.identifiers, indices],
        )


def _warn_of_thick_slices(
    source: str, unseen: int, count: int, affine: torch.Tensor, source_affine: torch.Tensor
) -> None:
    spacing = affine[:3, :3].double().norm(dim=0).tolist()
    axes = source_affine[:3, :3].double()
    along = (affine[:3, 2].double() @ axes / axes.norm(dim=0)).abs().argmax()
    apart = float(axes[:, along].norm())
    warnings.warn(
        f"{source}: {unseen} of its {count} processed slices, {spacing[2]:.4g} mm thick, lie between the slices of the "
        f"file, {apart:.4g} mm apart, and change nothing in its results. To process slices of the file's thickness: "
        f'--spacing "[{spacing[0]:.4g},{spacing[1]:.4g},{apart:.4g}]".',
        stacklevel=2,
    )
