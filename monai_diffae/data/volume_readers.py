# SPDX-License-Identifier: Apache-2.0
"""MONAI's readers of volumes, with what some files need beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import nibabel as nib
import numpy as np
from monai.config import PathLike
from monai.data import ImageReader, ITKReader, NibabelReader, NrrdReader, NumpyReader
from monai.utils import MetaKeys

from monai_diffae.data.detached_data import check_detached_data
from monai_diffae.data.formats import ARRAYS, META_IMAGE, NRRD, Format
from monai_diffae.data.nifti_headers import tell_of_places, unit_in_mm
from monai_diffae.support.names import without_extension

__all__ = ["volume_reader"]

Tell = Callable[[str, PathLike], None]

_ITK_TYPES = ("unsigned_char", "short", "unsigned_short", "int", "unsigned_int", "float", "double")


def volume_reader(known: Format, tell: Tell) -> ImageReader:
    """The reader of a format of volumes.

    Args:
        known: of :mod:`~monai_diffae.data.formats`, neither pictures nor DICOM.
        tell: called with what a file lacks, and the file.

    Raises:
        ImportError: without the package that reads it.
    """
    if missing := known.missing():
        raise ImportError(f"{known.name} need {known.module}; {missing}.")
    if known is META_IMAGE:
        return _MetaImage()
    if known is NRRD:
        return _Nrrd(tell)
    return _Arrays(tell) if known is ARRAYS else _Nibabel(tell)


class _Nibabel(NibabelReader):
    """NIfTI, pairs of ``.img`` and ``.hdr``, and MGH, in mm."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self.tell = tell

    def read(self, data: PathLike, **kwargs: Any) -> Any:
        try:
            return super().read(data, **kwargs)
        except FileNotFoundError:
            if not os.path.exists(data):
                raise
            raise ValueError("nibabel does not find it for its extension in mixed case; rename it") from None

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        file = os.fspath(self.filenames[0])
        is_analyze = isinstance(img, nib.AnalyzeImage) and not isinstance(img, nib.Nifti1Pair)  # one, to nibabel
        if is_analyze and not os.path.exists(f"{without_extension(file)}.mat"):  # SPM's
            self.tell("tells no orientation (Analyze) and is taken for radiological, as nibabel does", file)
        values, meta = super().get_data(img)
        stored = nib.load(file)  # MONAI has put pixdim in place of an sform that disagrees with it
        tell_of_places(stored.header, stored.shape, file, self.tell)
        affine = np.array(stored.affine, dtype=float)
        affine[:3] *= unit_in_mm(stored.header, file, self.tell)
        return values, meta | {MetaKeys.AFFINE: affine}


class _MetaImage(ITKReader):
    """Types of pixels that ITK has no Python class for (8 bits signed, several channels of integers) become floats."""

    def read(self, data: PathLike, **kwargs: Any) -> Any:
        import itk

        file = os.fspath(data)
        check_detached_data(file)
        image_io = itk.ImageIOFactory.CreateImageIO(file, itk.CommonEnums.IOFileMode_ReadMode)
        if image_io is None:
            raise ValueError("it is no MetaImage file, or its data are not there")
        image_io.SetFileName(file)
        image_io.ReadImageInformation()
        channels = image_io.GetNumberOfComponents()
        if channels > 4:
            raise ValueError(f"it has {channels} channels, of which ITK's Python package reads up to 4")
        as_stored = image_io.GetComponentTypeAsString(image_io.GetComponentType()) in _ITK_TYPES
        pixel_type = (None if as_stored else itk.F) if channels == 1 else itk.Vector[itk.F, channels]
        return super().read(file, pixel_type=pixel_type, **kwargs)


class _Arrays(NumpyReader):
    """One array of two or three dimensions."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self.tell = tell

    def read(self, data: PathLike, **kwargs: Any) -> np.ndarray:
        content = np.load(data, allow_pickle=False)
        if isinstance(content, np.ndarray):
            array = content
        else:
            with content:
                if len(content.files) != 1:
                    raise ValueError(f"it holds {len(content.files)} arrays ({', '.join(content.files)}), expected one")
                array = content[content.files[0]]
        if array.ndim not in (2, 3):
            raise ValueError(f"its array has the shape {list(array.shape)}, expected two or three dimensions")
        self.tell("tells no places; voxels are taken for 1 mm, axes for right, anterior, superior", data)
        return array


class _Nrrd(NrrdReader):
    """With the space that the header names, and channels, which NRRD may have along any axis, last."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(dtype=None)
        self.tell = tell

    def read(self, data: PathLike, **kwargs: Any) -> Any:
        self.filename = data
        check_detached_data(data)
        return super().read(data, **kwargs)

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        array, header = img.array, img.header
        directions = header.get("space directions")
        if directions is None:
            self.tell("tells no directions; axes are taken for right, anterior, superior", self.filename)
            spacings = header.get("spacings", np.ones(array.ndim))
            directions, signs = np.diag(np.nan_to_num(spacings, nan=1.0)), np.ones(array.ndim)
        else:
            directions = np.asarray([np.full(3, np.nan) if row is None else row for row in directions], dtype=float)
            signs = self._signs(header.get("space", "left-posterior-superior"), directions.shape[1])
        spatial = [axis for axis, row in enumerate(directions) if np.isfinite(row).all()]
        others = [axis for axis in range(array.ndim) if axis not in spatial]
        if len(others) > 1 or len(spatial) != directions.shape[1]:
            raise ValueError(f"its shape {list(array.shape)} has {len(spatial)} spatial axes and {len(others)} others")
        size = len(spatial)
        affine = np.eye(size + 1)
        affine[:size, :size] = (directions[spatial] * signs).T
        affine[:size, size] = np.asarray(header.get("space origin", np.zeros(size)), dtype=float) * signs
        return array.transpose(*spatial, *others), {
            MetaKeys.AFFINE: affine,
            MetaKeys.ORIGINAL_CHANNEL_DIM: -1 if others else float("nan"),
        }

    def _signs(self, space: str, dimensions: int) -> np.ndarray:
        """Of the space's axes in RAS."""
        known = {"left": (0, -1), "right": (0, 1), "posterior": (1, -1), "anterior": (1, 1), "superior": (2, 1)}
        known |= {"inferior": (2, -1), "l": (0, -1), "r": (0, 1), "p": (1, -1), "a": (1, 1), "s": (2, 1), "i": (2, -1)}
        words = space.lower().split("-") if "-" in space else list(space.lower())
        axes = [known.get(word) for word in words[:dimensions]]
        if [axis and axis[0] for axis in axes] != list(range(dimensions)):
            self.tell(f"names the space {space!r}, which is taken for left-posterior-superior", self.filename)
            axes = [(0, -1), (1, -1), (2, 1)][:dimensions]
        return np.array([sign for _, sign in axes], dtype=float)
