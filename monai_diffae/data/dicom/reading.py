# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from monai_diffae.data.dicom.headers import read_dataset
from monai_diffae.data.dicom.pixels import intensities
from monai_diffae.data.dicom.planes import planes_of, stack_planes

__all__ = ["DicomReader"]


class DicomReader(ImageReader):
    """Reads a DICOM file, or the slices of a stack, as a volume, for MONAI's ``LoadImage``.

    (MONAI's PydicomReader stacks what is given without a look at directions and places, loses the spacing of files
    without a place, and takes colours for slices.) Slices are put in the order of their places, whatever their numbers;
    frames of an enhanced file likewise. A single slice gets a third axis of 1 mm across its plane. Bright is high, and
    colours become grey; see :mod:`~monai_diffae.data.dicom.pixels`.

    Data are ``(columns, rows, slices)``, with an affine to RAS.

    Args:
        tell: called with what is converted or lacking, and the file.

    Raises:
        ValueError: while it reads, for files without pixels or with such that cannot be decoded, several frames without
            places, and slices that make no volume; see :func:`~monai_diffae.data.dicom.planes.stack_planes`.
    """

    def __init__(self, tell: Callable[[str, PathLike], None]) -> None:
        super().__init__()
        self.tell = tell

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """DICOM files may have any name."""
        return True

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> list[tuple[str, Any]]:
        """Paths and pydicom's data sets."""
        return [(os.fspath(file), read_dataset(file, **kwargs)) for file in ensure_tuple(data)]

    def get_data(self, img: Sequence[tuple[str, Any]]) -> tuple[np.ndarray, dict]:
        """Intensities and metadata."""
        planes, frames = [], []
        for file, dataset in img:
            tell = functools.partial(self._tell, file)
            if "Rows" not in dataset or "Columns" not in dataset:
                raise ValueError(f"{file} has no pixels; it is a DICOMDIR, a report, a plan or the like")
            if "SegmentSequence" in dataset:
                raise ValueError(f"{file} is a DICOM segmentation; convert it to NIfTI")
            if "MOSAIC" in (dataset.get("ImageType") or ()):
                raise ValueError(f"{file} is a mosaic of slices (Siemens); convert it to NIfTI, by dcm2niix say")
            of_file = planes_of(dataset, tell)
            planes += of_file
            frames += list(intensities(dataset, of_file, tell))
        sizes = sorted({frame.shape for frame in frames})
        if len(sizes) > 1:
            raise ValueError(f"the slices of the series have different sizes (rows, columns): {sizes}")
        order, affine = stack_planes(planes, functools.partial(self._tell, img[0][0]))
        volume = _as_small(np.stack([frames[k].T for k in order], axis=-1))
        meta = {
            MetaKeys.SPATIAL_SHAPE: np.asarray(volume.shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.ORIGINAL_AFFINE: affine,
            MetaKeys.AFFINE: affine.copy(),
        }
        return volume, meta

    def _tell(self, file: str, what: str) -> None:
        self.tell(what, file)


def _as_small(values: np.ndarray) -> np.ndarray:
    """What 32 bits were taken for on the way, in the smallest usual type that holds it."""
    if values.dtype == np.int32:
        for dtype in (np.int16, np.uint16):
            limits = np.iinfo(dtype)
            if values.min() >= limits.min and values.max() <= limits.max:
                return values.astype(dtype)
    return values
