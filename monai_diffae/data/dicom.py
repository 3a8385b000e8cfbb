# SPDX-License-Identifier: Apache-2.0
"""DICOM files among others: found by what is in them, grouped to series, and read by MONAI's PydicomReader."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import PydicomReader
from monai.utils import ensure_tuple, optional_import

__all__ = ["DicomSeriesReader", "dicom_sources", "is_dicom"]

_UNEVEN = 0.02  # of the mean distance of slices; scanners round positions


def is_dicom(file: PathLike) -> bool:
    """Whether a file has the mark of DICOM's file format; the name does not matter."""
    try:
        with open(file, "rb") as f:
            return f.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _read_tags(file: Path, tags: Sequence[str]) -> Any:
    pydicom, found = optional_import("pydicom")
    if not found:
        raise ImportError(f"{file} is a DICOM file; to read it: pip install pydicom.")
    return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(tags))


def dicom_sources(files: Iterable[Path]) -> list[tuple[Path, str]]:
    """DICOM files as sources of images: a series of one file is that file, one of several files their folder.

    Returns:
        Path and PatientID (empty if there is none) of each.

    Raises:
        ValueError: if a folder mixes a series of several files with other series.
        ImportError: without pydicom.
    """
    series: dict[tuple[Path, str], list[tuple[Path, str]]] = {}
    for file in files:
        tags = _read_tags(file, ["SeriesInstanceUID", "PatientID"])
        key = file.parent, str(tags.get("SeriesInstanceUID", file.name))
        series.setdefault(key, []).append((file, str(tags.get("PatientID", "") or "")))
    counts = Counter(folder for folder, _ in series)
    sources = []
    for (folder, _), members in series.items():
        if len(members) > 1 and counts[folder] > 1:
            raise ValueError(
                f"{folder} holds {counts[folder]} DICOM series, one of them of {len(members)} files; give each "
                "series of several files a folder of its own."
            )
        sources.append((folder if len(members) > 1 else members[0][0], members[0][1]))
    return sources


class DicomSeriesReader(PydicomReader):
    """MONAI's PydicomReader for one file or for the files of one series, which become a volume.

    Slices are put in the order of their positions, whatever their numbers. A single slice gets a third axis of 1 mm
    across its plane.

    Raises:
        ValueError: while it reads, for a file of several frames, slices at one place or unevenly spaced (one is
            missing, say), and slices of different sizes.
    """

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Any:
        """Datasets of pydicom, sorted by position."""
        files = [os.fspath(file) for file in ensure_tuple(data)]
        datasets = super().read(files, **kwargs)
        datasets = [datasets] if len(files) == 1 else datasets
        for file, dataset in zip(files, datasets):
            if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
                raise ValueError(f"{file} has {dataset.NumberOfFrames} frames; convert it to NIfTI or to a series.")
        if len(files) == 1:
            return datasets[0]
        order = _order(files, datasets)
        for number, k in enumerate(order):
            datasets[k].InstanceNumber = number + 1  # by which MONAI sorts
        self.has_series = True
        self.filenames = [[files[k] for k in order]]
        return [datasets[k] for k in order]

    def _get_affine(self, metadata: dict, lps_to_ras: bool = True) -> np.ndarray:
        affine = super()._get_affine(metadata, lps_to_ras)
        if "00200037" in metadata and "lastImagePositionPatient" not in metadata:
            # MONAI's third axis is z, which lies in the plane of a sagittal slice.
            # Rows and columns are swapped later: this axis keeps the handedness of MONAI's volumes.
            normal = np.cross(affine[:3, 1], affine[:3, 0])
            if np.linalg.norm(normal) > 0:
                affine[:3, 2] = normal / np.linalg.norm(normal)
        return affine


def _order(files: Sequence[str], datasets: Sequence[Any]) -> list[int]:
    """Indices of slices along their normal, from DICOM's first to its last."""
    sizes = {(d.Rows, d.Columns) for d in datasets}
    if len(sizes) > 1:
        raise ValueError(f"{os.path.dirname(files[0])}: the slices of the series have different sizes: {sizes}.")
    if not all("ImagePositionPatient" in d and "ImageOrientationPatient" in d for d in datasets):
        raise ValueError(f"{os.path.dirname(files[0])}: slices of the series have no position and orientation.")
    plane = np.asarray(datasets[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    places = np.asarray([d.ImagePositionPatient for d in datasets], dtype=float) @ np.cross(*plane)
    order = np.argsort(places, kind="stable")
    distances = np.diff(places[order])
    if distances.min() <= 0 or np.ptp(distances) > _UNEVEN * distances.mean() + 0.01:
        raise ValueError(
            f"{os.path.dirname(files[0])}: the {len(files)} slices of the series are not evenly spaced: between "
            f"{distances.min():.3f} and {distances.max():.3f} mm; is one missing, or are there several volumes?"
        )
    return order.tolist()
