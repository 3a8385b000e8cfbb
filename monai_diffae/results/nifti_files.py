# SPDX-License-Identifier: Apache-2.0
"""Volumes as they are stored: read, changed in some voxels, and written with the header that they had."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.utils import convert_to_numpy

from monai_diffae.support.atomic_files import replacing
from monai_diffae.support.names import NIBABEL_EXTENSIONS
from monai_diffae.support.pseudonyms import check_identifiers

__all__ = ["StoredVolume", "read_stored_volume", "save_nifti"]

_TEXT_FIELDS = ("data_type", "db_name", "descrip", "aux_file", "intent_name")


def save_nifti(image: nib.Nifti1Image, path: Path) -> None:
    """Write ``path``; it appears when it is complete. Missing folders are made."""
    with replacing(path) as partial:
        nib.save(image, partial)


@dataclasses.dataclass(frozen=True)
class StoredVolume:
    """The numbers of a file, with what turns them into intensities.

    Args:
        numbers: as stored, 2D to 4D (or more, of length 1); intensities are ``slope * numbers + intercept``.
        slope: not 0.
        intercept: see above.
        header: of a NIfTI file.
        affine: of the file.
        image_class: of nibabel, NIfTI-1 or 2.
        channel: of four dimensions, the one that is meant.
    """

    numbers: np.ndarray
    slope: float
    intercept: float
    header: nib.Nifti1Header
    affine: np.ndarray
    image_class: type
    channel: int = 0

    def grid(self, numbers: np.ndarray) -> np.ndarray:
        """Three-dimensional view of numbers with the shape of the file."""
        if numbers.ndim > 3:
            return numbers[(..., self.channel, *(0,) * (numbers.ndim - 4))]
        return numbers.reshape(numbers.shape + (1,) * (3 - numbers.ndim))

    def changed(
        self, box: tuple[slice, ...], covered: np.ndarray, intensities: np.ndarray, add: bool = False
    ) -> np.ndarray:
        """A copy of the numbers with other intensities in covered voxels of a box; nothing else differs in any bit.

        Args:
            box: of :meth:`grid`.
            covered: bool, shape of the box.
            intensities: shape of the box, finite; rounded and clipped to what the type of the file can hold.
            add: to what is there, instead of replacing it.
        """
        numbers = self.numbers.copy(order="K")  # of the file: another order costs more than all else
        part = self.grid(numbers)[box]
        new = intensities[covered].astype(np.float64) / self.slope
        new += part[covered] if add else -self.intercept / self.slope
        part[covered] = _fitted(new, numbers.dtype)
        return numbers

    def image(self, numbers: np.ndarray) -> nib.Nifti1Image:
        """Numbers on the scale of the file, as an image with its header."""
        header = self.header.copy()
        header.set_data_dtype(numbers.dtype)
        image = self.image_class(numbers, self.affine, header)
        image.header.set_slope_inter(self.slope, self.intercept)  # nibabel's constructors forget them
        return image

    def map_image(self, intensities: np.ndarray) -> nib.Nifti1Image:
        """A float32 map in the geometry of the file, as an image."""
        header = self.header.copy()
        header.set_data_dtype(np.float32)
        header["cal_min"] = header["cal_max"] = 0
        return self.image_class(intensities.astype(np.float32), self.affine, header)


def read_stored_volume(
    file: str | Sequence[str],
    channel: int | None = None,
    load: Callable | None = None,
    identifiers: str = "pseudonyms",
) -> StoredVolume:
    """The source of a volume.

    Args:
        file: NIfTI or a NIfTI pair, whose header and numbers are kept as they are, or Analyze and MGH, whose numbers
            are; others by ``load``.
        channel: of a file with more than one.
        load: MONAI transform of ``{"image": file}`` to an image ``(1, X, Y, Z)`` with ``stored_type`` in its metadata,
            for other files. They become NIfTI-1 with numbers of that type, if it is one of NIfTI.

        identifiers: ``pseudonyms`` blanks what text the header has (names of patients stand there) and leaves out its
            extensions (a DICOM header, say); ``keep`` keeps both.

    Raises:
        ValueError: for numbers that are neither integers nor floats (colours, complex), and without ``load`` for a
            file that is not NIfTI.
    """
    if not isinstance(file, (str, os.PathLike)) or not os.fspath(file).lower().endswith(NIBABEL_EXTENSIONS):
        if load is None:
            raise ValueError(f"{file} is not a NIfTI file (.nii, .nii.gz), and there is no load to read it with.")
        image = load({"image": file})["image"]
        values = _as_stored(convert_to_numpy(image[0]), np.dtype(image.meta.get("stored_type", np.float32)))
        affine = convert_to_numpy(image.affine).astype(np.float64)
        created = nib.Nifti1Image(values, affine)
        return StoredVolume(np.asarray(created.dataobj), 1.0, 0.0, created.header, affine, nib.Nifti1Image)
    source = nib.load(file)
    numbers = np.array(source.dataobj.get_unscaled())
    if numbers.dtype.kind not in "iuf" or numbers.dtype.itemsize > 8:
        raise ValueError(f"{file} holds {numbers.dtype}; expected integers or floats of at most 64 bits.")
    is_nifti2 = isinstance(source, (nib.Nifti2Image, nib.Nifti2Pair))
    image_class = nib.Nifti2Image if is_nifti2 else nib.Nifti1Image
    slope, intercept = float(source.dataobj.slope), float(source.dataobj.inter)
    header = _header(source) if check_identifiers(identifiers) == "keep" else _without_text(_header(source))
    return StoredVolume(numbers, slope, intercept, header, source.affine, image_class, channel or 0)


def _fitted(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in a type, rounded to its integers and clipped to its range."""
    if dtype.kind == "f":
        return np.clip(values, np.finfo(dtype).min, np.finfo(dtype).max).astype(dtype)
    limits = np.iinfo(dtype)
    # float64 has no 2^63 - 1, and 2^63 would come out as -2^63.
    high = float(limits.max) if float(limits.max) <= limits.max else np.nextafter(float(limits.max), 0)
    return np.clip(np.rint(values), limits.min, high).astype(dtype)


def _header(source: nib.spatialimages.SpatialImage) -> nib.Nifti1Header:
    """Of a single NIfTI file: a pair's is the same but for its mark, and other formats have no field for a place."""
    if isinstance(source, (nib.Nifti1Image, nib.Nifti2Image)):
        return source.header
    if isinstance(source, nib.Nifti1Pair):  # nibabel's constructors would drop what Analyze has no field for
        header_class = nib.Nifti2Header if isinstance(source, nib.Nifti2Pair) else nib.Nifti1Header
        header = header_class(source.header.binaryblock, source.header.endianness, check=False)
        header["magic"] = header_class.single_magic
        return header
    return nib.Nifti1Image(np.zeros(source.shape, np.uint8), source.affine).header


def _without_text(header: nib.Nifti1Header) -> nib.Nifti1Header:
    header = header.copy()
    for name in _TEXT_FIELDS:
        if name in header:
            header[name] = b""
    header.extensions.clear()
    return header


def _as_stored(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values of a type, or where they do not fit into it, or NIfTI has no such, of one that holds them."""
    if dtype.kind == "f":
        return values.astype(np.float64 if dtype.itemsize == 8 else np.float32)
    usual = (np.uint8, np.int16, np.uint16, np.int32)
    own = [dtype.newbyteorder("=")] if dtype.kind in "iu" and dtype.itemsize < 8 else []
    for candidate in (*own, *usual):
        limits = np.iinfo(candidate)
        if values.min() >= limits.min and values.max() <= limits.max and np.all(values == np.rint(values)):
            return values.astype(candidate)
    return values.astype(np.float32)
