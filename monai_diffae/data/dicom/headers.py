# SPDX-License-Identifier: Apache-2.0
"""DICOM files told by what is in them, and what a search needs to know of them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import

__all__ = ["Header", "is_dicom", "read_dataset", "read_header"]

_TAGS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "PatientID", "ImageType", "InstanceNumber")
_TAGS += ("Rows", "Columns")
_TAGS += ("NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")  # of enhanced files
_TAGS += _GROUPS
_SPECTROSCOPY = "1.2.840.10008.5.1.4.1.1.4.2"  # has rows and columns of spectra
_OVERLAYS = {
    "1.2.840.10008.5.1.4.1.1.66.4",  # segmentation
    "1.2.840.10008.5.1.4.1.1.66.7",  # label map
    "1.2.840.10008.5.1.4.1.1.481.2",  # dose
}


def read_dataset(file: PathLike, **options: Any) -> Any:
    """pydicom's data set of a file, with or without DICOM's preamble.

    Raises:
        ImportError: without pydicom.
    """
    pydicom, found = optional_import("pydicom")
    if not found:
        raise ImportError(f"{file} is a DICOM file; to read it: pip install 'monai-diffae[dicom]'.")
    dataset = pydicom.dcmread(file, force=True, **options)
    if "TransferSyntaxUID" not in dataset.file_meta:  # without a preamble: as it was found to be encoded
        implicit, little_endian = dataset.original_encoding
        names = {(True, True): "ImplicitVRLittleEndian", (False, True): "ExplicitVRLittleEndian"}
        name = names.get((implicit, little_endian), "ExplicitVRBigEndian")
        dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, name)
    return dataset


def is_dicom(file: PathLike) -> bool:
    """Whether a file is of DICOM; its name does not matter. False for one that cannot be opened.

    Its mark stands after a preamble of 128 bytes. Files without one (old exports) begin with a group that DICOM's files
    begin with, and name the class of their object.
    """
    try:
        with open(file, "rb") as f:
            head = f.read(132)
    except OSError:
        return False
    if head[128:] == b"DICM":
        return True
    little, big = (int.from_bytes(head[:2], order) for order in ("little", "big"))
    if len(head) < 132 or (little not in (2, 8) and big not in (2, 8)):
        return False
    try:
        return "SOPClassUID" in read_dataset(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    except ImportError:
        return True
    except Exception:  # pydicom has many names for what is none
        return False


@dataclasses.dataclass(frozen=True)
class Header:
    """What a search needs to know.

    Args:
        file: its path.
        patient: PatientID, or empty.
        series: SeriesInstanceUID, or the file's name.
        identity: SOPInstanceUID, number and place, the same in copies; None where there is no UID.
        has_pixels: else it is a DICOMDIR, report, plan, structure set or the like.
        is_overlay: a segmentation or dose, which belongs to an image.
        is_localizer: a topogram, scout or localizer.
        is_mosaic: one picture of all slices of a volume side by side, as Siemens has it.
        is_film: frames that have no places.
        frames: their number.
        plane: rows, columns, spacing and directions, ``(10,)``; None without a place in the patient.
    """

    file: Path
    patient: str
    series: str
    identity: tuple[str, str, str] | None
    has_pixels: bool
    is_overlay: bool
    is_localizer: bool
    is_mosaic: bool
    is_film: bool
    frames: int
    plane: np.ndarray | None


def read_header(file: Path) -> Header:
    """
    Raises:
        ValueError: for a damaged file.
        ImportError: without pydicom.
    """
    try:
        tags = read_dataset(file, stop_before_pixels=True, specific_tags=list(_TAGS))
        frames = int(tags.get("NumberOfFrames", 1) or 1)
        plane = None
        if "ImagePositionPatient" in tags and "ImageOrientationPatient" in tags:
            spacing = tags.get("PixelSpacing") or (1, 1)
            plane = np.asarray([tags.Rows, tags.Columns, *spacing, *tags.ImageOrientationPatient], dtype=float)
        # Not the UID alone, which should do: some programs write one into all files.
        identity = tuple(
            str(tags.get(name, "") or "") for name in ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient")
        )
        return Header(
            file=file,
            patient=str(tags.get("PatientID", "") or ""),
            series=str(tags.get("SeriesInstanceUID", "") or file.name),
            identity=identity if identity[0] else None,
            has_pixels="Rows" in tags and "Columns" in tags and tags.get("SOPClassUID") != _SPECTROSCOPY,
            is_overlay=str(tags.get("SOPClassUID", "")) in _OVERLAYS,
            is_localizer="LOCALIZER" in (tags.get("ImageType") or ()),
            is_mosaic="MOSAIC" in (tags.get("ImageType") or ()),
            is_film=frames > 1 and not any(name in tags for name in _GROUPS),
            frames=frames,
            plane=plane if plane is None or plane.shape == (10,) else None,
        )
    except ImportError:
        raise
    except Exception as error:  # pydicom has many names for a damaged file
        raise ValueError(f"{os.fspath(file)} cannot be read as DICOM: {error}") from None
