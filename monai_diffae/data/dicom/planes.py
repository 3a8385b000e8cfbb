# SPDX-License-Identifier: Apache-2.0
"""Where the frames of DICOM files lie in the patient, and the order and affine of a stack of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["Plane", "planes_of", "stack_planes"]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNEVEN = 0.1  # of the distance of slices; scanners round positions
_SHIFTED = 0.25  # of a pixel
_TILT = 1e-3  # of the distance of slices, across their normal


@dataclasses.dataclass(frozen=True)
class Plane:
    """A frame in the patient, in DICOM's coordinates (LPS, mm).

    Args:
        position: of the centre of the first pixel, ``(3,)``.
        directions: along a row and along a column, ``(2, 3)``, unit vectors.
        spacing: of rows and of columns.
        slope: of stored values.
        intercept: see there.
    """

    position: np.ndarray
    directions: np.ndarray
    spacing: tuple[float, float]
    slope: float
    intercept: float

    @property
    def normal(self) -> np.ndarray:
        """Unit vector."""
        return np.cross(*self.directions)


def planes_of(dataset: Any, tell: Callable[[str], None]) -> list[Plane]:
    """The plane of each frame of a file.

    Without a place in the patient, an image is taken for an axial slice as a radiologist sees it, at the origin.

    Args:
        dataset: of pydicom.
        tell: says what a file lacks.

    Raises:
        ValueError: for several frames without places, and numbers that are no place.
    """
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or [None] * frames
    if len(per_frame) != frames:
        raise ValueError(f"it has {frames} frames, but tells places of {len(per_frame)}")
    return [_plane((frame, shared, dataset), frames, tell) for frame in per_frame]


def _first(dataset: Any, name: str) -> Any:
    sequence = None if dataset is None else dataset.get(name)
    return sequence[0] if sequence else None


def _plane(groups: Sequence[Any], frames: int, tell: Callable[[str], None]) -> Plane:
    def value(sequence: str, name: str) -> Any:
        """From the frame, what all frames share, or the file."""
        for group in groups:
            for holder in (_first(group, sequence), group):
                if holder is not None and holder.get(name) is not None and holder.get(name) != "":
                    return holder.get(name)
        return None

    position = value("PlanePositionSequence", "ImagePositionPatient")
    orientation = value("PlaneOrientationSequence", "ImageOrientationPatient")
    if position is None or orientation is None:
        if frames > 1:
            raise ValueError(f"its {frames} frames have no places in the patient; convert it to NIfTI or to a series")
        tell("has no place in the patient and is taken for an axial slice, its left the patient's right")
    spacing = value("PixelMeasuresSequence", "PixelSpacing")
    if spacing is None:
        spacing = _other_spacing(groups[-1], tell)
    directions = np.asarray((1, 0, 0, 0, 1, 0) if orientation is None else orientation, dtype=float).reshape(2, 3)
    position = np.zeros(3) if position is None else np.asarray(position, dtype=float)
    lengths = np.linalg.norm(directions, axis=1)
    if not (np.isfinite([*directions.flat, *position, *map(float, spacing)]).all() and min(spacing) > 0):
        raise ValueError(
            f"its position {position.tolist()}, orientation {directions.ravel().tolist()} or spacing "
            f"{list(map(float, spacing))} is no place"
        )
    if np.abs(lengths - 1).max() > 0.01 or abs(directions[0] @ directions[1]) > 0.01:
        raise ValueError(f"its ImageOrientationPatient {directions.ravel().tolist()} is not of two right-angled axes")
    slope = value("PixelValueTransformationSequence", "RescaleSlope")
    intercept = value("PixelValueTransformationSequence", "RescaleIntercept")
    return Plane(
        position=position,
        directions=directions / lengths[:, None],
        spacing=(float(spacing[0]), float(spacing[1])),
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
    )


def _other_spacing(dataset: Any, tell: Callable[[str], None]) -> tuple[float, float]:
    for name in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if dataset.get(name):
            rows, columns = dataset.get(name)
            tell(f"has no PixelSpacing; its {name}, before magnification, is taken")
            return float(rows), float(columns)
    rows, columns = dataset.get("PixelAspectRatio") or (1, 1)
    tell("tells no size of its pixels, which are taken for 1 mm")
    return float(rows) / float(columns), 1.0


def stack_planes(planes: Sequence[Plane], tell: Callable[[str], None]) -> tuple[list[int], np.ndarray]:
    """Order of planes along their normal, and the affine of the volume that they make.

    Args:
        planes: parallel, of one size.
        tell: says that they are sheared.

    Returns:
        Indices, and ``(4, 4)``, float64, from (column, row, slice) to RAS. A single slice gets a third axis of 1 mm.

    Raises:
        ValueError: for planes that are not parallel or differ in spacing, lie at one place, are unevenly spaced (one is
            missing, say) or shifted against each other.
    """
    first = planes[0]
    for plane in planes[1:]:
        if not np.allclose(plane.directions, first.directions, atol=0.01):
            raise ValueError("its slices have different directions; give each stack of slices a folder of its own")
        if not np.allclose(plane.spacing, first.spacing, atol=0.01):
            raise ValueError("its slices have different pixel spacings; give each stack of slices a folder of its own")
    positions = np.asarray([plane.position for plane in planes])
    places = positions @ first.normal
    order = np.argsort(places, kind="stable")
    positions, distances = positions[order], np.diff(places[order])
    step = first.normal
    if len(planes) > 1:
        mean = distances.mean()
        step = (positions[-1] - positions[0]) / (len(planes) - 1)
        off = positions - (positions[0] + np.arange(len(planes))[:, None] * step)
        along = np.abs(off @ first.normal).max()
        if distances.min() <= 0 or along > _UNEVEN * mean + 0.01:
            raise ValueError(
                f"the {len(planes)} slices of the series are not evenly spaced: between {distances.min():.3f} and "
                f"{distances.max():.3f} mm; is one missing, or are there several volumes?"
            )
        across = np.abs(off @ first.directions.T) / np.array([first.spacing[1], first.spacing[0]])
        if across.max() > _SHIFTED:
            raise ValueError(
                f"the {len(planes)} slices of the series are shifted against each other, by up to {across.max():.1f} "
                "pixels; give each stack of slices a folder of its own"
            )
        sheared = np.linalg.norm(step - (step @ first.normal) * first.normal)
        if sheared > _TILT * mean + 0.01:
            tell("was scanned with a tilted gantry, or its slices are shifted evenly; its affine keeps that shear")
    affine = np.eye(4)
    affine[:3, 0] = first.directions[0] * first.spacing[1]
    affine[:3, 1] = first.directions[1] * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    return order.tolist(), _LPS_TO_RAS @ affine
