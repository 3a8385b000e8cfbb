# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor
from monai.data.utils import to_affine_nd
from monai.transforms import MapTransform
from monai.utils import MetaKeys

from monai_diffae.data.dicom import DicomReader, dicom_images, is_dicom
from monai_diffae.data.formats import DICOM, PICTURES, format_of
from monai_diffae.data.pictures import PictureReader
from monai_diffae.data.volume_checks import MAX_EXTENT, NOT_FINITE, check_geometry, finite_voxels
from monai_diffae.data.volume_readers import volume_reader
from monai_diffae.support.telling import OnceTold

__all__ = ["LoadVolumed"]


class LoadVolumed(MapTransform):
    """Loads what MONAI's readers read, as volumes of one channel: NIfTI (2D to 4D), pairs of ``.img`` and ``.hdr``,
    MGH, MetaImage (``pip install itk-io``), NRRD (``pip install pynrrd``), NumPy arrays, DICOM (a file, or a folder
    with a stack of slices; ``pip install pydicom``) and pictures.

    An image becomes a MetaTensor ``(1, X, Y, Z)``, float32, Z of 1 for one slice, with the affine of the file (RAS),
    the same as ``original_affine``, and ``filename_or_obj``. Pictures are grey in
    [-1, 1] (:class:`~monai_diffae.data.PictureReader`) and lie as a radiologist's axial slice does: their left is the
    patient's right, their top anterior.

    Args:
        keys: of the files.
        channel: of files with more than one (the fourth dimension of NIfTI), the one to take; others do not mind.
        picture_spacing: mm, the size of a picture's pixel, which its file does not tell.
        allow_missing_keys: do nothing for a key that an item lacks.
        not_finite: of voxels that are NaN or infinite, ``replace`` (by the lowest and the highest finite one, with a
            line in the log that says how many) or ``refuse``.

    Raises:
        ValueError: for another ``not_finite``; while it loads, naming the file, for one that cannot be read, has
            several channels but ``channel`` is not one of them, has more dimensions or none, complex numbers or
            colours, or a header that gives its voxels no place.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channel: int | None = None,
        picture_spacing: float = 1.0,
        allow_missing_keys: bool = False,
        not_finite: str = "replace",
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not_finite not in NOT_FINITE:
            raise ValueError(f"not_finite must be one of {', '.join(NOT_FINITE)}, got {not_finite!r}.")
        self.not_finite = not_finite
        self._not_finite_in: set[str] = set()  # files that it was said of
        self.channel = channel
        self.picture_spacing = picture_spacing
        self._told = OnceTold()
        self._pictures = PictureReader(channels=1)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._load(os.fspath(d[key]))
        return d

    def _load(self, file: str) -> MetaTensor:
        try:
            return self._loaded(file)
        except MemoryError:
            raise ValueError(f"{file} cannot be read as an image: it does not fit into the memory") from None

    def _loaded(self, file: str) -> MetaTensor:
        try:
            array, affine = self._read(file)
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            # From None: of a chain, print_root_cause shows users the first error, which does not name the file.
            raise ValueError(f"{file} cannot be read as an image: {error}") from None
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise ValueError(f"{file} holds {array.dtype}; expected integers or floats of at most 64 bits.")
        if array.size == 0:
            raise ValueError(f"{file} is empty: its shape is {list(array.shape[1:])}.")
        with np.errstate(over="ignore"):  # infinite then, which is said below
            image = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
        while image.ndim > 4 and image.shape[-1] == 1:
            image = image[..., 0]
        if image.ndim not in (3, 4):
            raise ValueError(
                f"{file} has the shape {list(image.shape[1:])} with {len(image)} channels; expected 2D, 3D or 4D."
            )
        if len(image) > 1:
            if self.channel is None or not 0 <= self.channel < len(image):
                raise ValueError(
                    f"{file} has {len(image)} channels (4D, a series or colours), of which one can be processed: name "
                    f"it with channel, 0 to {len(image) - 1}; channel is {self.channel}."
                )
            image = image[self.channel : self.channel + 1]
        image = image if image.ndim == 4 else image[..., None]
        check_geometry(file, image.shape, affine, math.inf if format_of(file) is PICTURES else MAX_EXTENT)
        image = finite_voxels(image, file, self.not_finite, tell=file not in self._not_finite_in)
        self._not_finite_in.add(file)
        meta = {
            "filename_or_obj": file,
            "original_affine": affine.clone(),
            "space": "RAS",
            "stored_type": array.dtype.str,
        }
        return MetaTensor(image.contiguous(), affine=affine, meta=meta)

    def _read(self, file: str) -> tuple[np.ndarray, torch.Tensor]:
        """Values ``(C, *spatial)`` as the file has them, and the affine ``(4, 4)``, float64."""
        known = None if os.path.isdir(file) else format_of(file)
        if known is PICTURES:
            values, _ = _values(self._pictures, file)
            spacing = [-self.picture_spacing, -self.picture_spacing, 1.0, 1.0]
            return values.swapaxes(1, 2), torch.diag(torch.tensor(spacing, dtype=torch.float64))
        if known not in (None, DICOM):
            return _values(volume_reader(known, self._told), file)
        if os.path.isdir(file):
            return _values(DicomReader(self._told), [str(path) for path in dicom_images(Path(file))])
        if not is_dicom(file):
            raise ValueError("it is neither DICOM nor has it the extension of a format that is read")
        return _values(DicomReader(self._told), file)


def _values(reader: ImageReader, files: str | Sequence[str]) -> tuple[np.ndarray, torch.Tensor]:
    """What MONAI's LoadImage does, but for the type of the values, and that errors are the reader's own."""
    values, meta = reader.get_data(reader.read(files))
    axis = meta[MetaKeys.ORIGINAL_CHANNEL_DIM]
    values = values[None] if np.isnan(axis) else np.moveaxis(values, int(axis), 0)
    affine = to_affine_nd(3, np.asarray(meta.get(MetaKeys.AFFINE, np.eye(4)), dtype=np.float64))
    return values, torch.from_numpy(affine)
