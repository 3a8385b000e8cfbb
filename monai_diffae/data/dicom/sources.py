# SPDX-License-Identifier: Apache-2.0
"""DICOM files grouped to images."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from monai_diffae.data.dicom.headers import Header, is_dicom, read_header
from monai_diffae.support.telling import PassedOver

__all__ = ["dicom_images", "dicom_sources"]

# Rows, columns, spacing in mm and direction cosines (about half a degree) by which slices of one stack may differ.
_SAME_PLANE = np.array([0.5, 0.5, *[0.01] * 2, *[0.01] * 6])


def dicom_sources(files: Iterable[Path], passed: PassedOver) -> list[tuple[Path, str]]:
    """DICOM files as sources of images: a stack of slices is its folder, any other image its file.

    Left out, and counted, are files without pixels (DICOMDIR, reports, plans, structure sets), segmentations and doses,
    topograms and localizers, films, mosaics of slices, copies of an image in one folder, slices that lie across the
    stack of their series, and beside a stack what has no place in the patient (screenshots).

    Returns:
        Path and PatientID (empty if there is none) of each.

    Raises:
        ValueError: if a folder holds several stacks, and for a damaged file.
        ImportError: without pydicom.
    """
    folders: dict[Path, list[Header]] = defaultdict(list)
    for file in files:
        folders[file.parent].append(read_header(file))
    sources = []
    for folder, headers in folders.items():
        stack, singles = _grouped(folder, headers, passed)
        sources += [(folder, stack[0].patient)] if stack else []
        sources += [(header.file, header.patient) for header in singles]
    return sources


def dicom_images(folder: Path) -> list[Path]:
    """The files of the one image of a folder: of its stack of slices, or else its only file.

    Raises:
        ValueError: if the folder holds several images or none.
    """
    passed = PassedOver()
    headers = [read_header(file) for file in sorted(folder.iterdir()) if file.is_file() and is_dicom(file)]
    stack, singles = _grouped(folder, headers, passed)
    images = stack or singles
    if not stack and len(singles) != 1:
        left_out = "".join(f"; left out are {line}" for line in passed.lines())
        raise ValueError(f"it holds {len(images)} DICOM images that make no volume, expected one{left_out}.")
    return [header.file for header in images]


def _grouped(folder: Path, headers: Sequence[Header], passed: PassedOver) -> tuple[list[Header], list[Header]]:
    """The stack of a folder, empty if there is none, and its other images."""
    series: dict[str, list[Header]] = defaultdict(list)
    taken: set[tuple] = set()
    for header in headers:
        if not header.has_pixels:
            passed.add("DICOM files without pixels (DICOMDIR, reports, plans and the like)", header.file)
        elif header.is_overlay:
            passed.add("DICOM segmentations and doses, which are no images", header.file)
        elif header.is_localizer:
            passed.add("DICOM topograms and localizers", header.file)
        elif header.is_film:
            passed.add("DICOM films (frames without places in the patient)", header.file)
        elif header.is_mosaic:
            passed.add("DICOM mosaics of slices (Siemens; dcm2niix converts them)", header.file)
        elif header.identity is not None and (header.series, *header.identity) in taken:
            passed.add("copies of DICOM images that are taken already", header.file)
        else:
            taken.add((header.series, *(header.identity or (os.fspath(header.file),))))
            series[header.series].append(header)
    stacks, singles = [], []
    for members in series.values():
        alone, parallel = _parallel(members)
        several = [slices for slices in parallel if len(slices) > 1]
        stacks += several
        singles += alone
        for (single,) in (slices for slices in parallel if len(slices) == 1):
            if several:
                passed.add("DICOM slices that lie across the others of their series", single.file)
            else:
                singles.append(single)
    if len(stacks) > 1:
        sizes = ", ".join(str(len(slices)) for slices in stacks[:8]) + ", ..." * (len(stacks) > 8)
        raise ValueError(
            f"{os.fspath(folder)} holds {len(series)} DICOM series with {len(stacks)} stacks of slices ({sizes} "
            "slices), which differ in series, direction or size; give each a folder of its own."
        )
    if stacks:
        for header in singles:
            if header.plane is None and header.frames == 1:
                passed.add("DICOM images without a place in the patient beside a series (screenshots)", header.file)
        singles = [header for header in singles if header.plane is not None or header.frames > 1]
    return (stacks[0] if stacks else []), sorted(singles, key=lambda header: header.file)


def _parallel(members: Sequence[Header]) -> tuple[list[Header], list[list[Header]]]:
    """Files of a series that are images by themselves, and the others by size, spacing and direction."""
    alone = [header for header in members if header.plane is None or header.frames > 1]
    placed = [header for header in members if header.plane is not None and header.frames == 1]
    planes = np.array([header.plane for header in placed])
    first: list[int] = []  # of each group
    groups: list[list[Header]] = []
    for k, header in enumerate(placed):
        same = np.flatnonzero((np.abs(planes[first] - planes[k]) <= _SAME_PLANE).all(axis=1)) if first else ()
        if len(same):
            groups[same[0]].append(header)
        else:
            first.append(k)
            groups.append([header])
    return alone, groups
