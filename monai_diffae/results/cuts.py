# SPDX-License-Identifier: Apache-2.0
"""Volumes in pictures: three orthogonal cuts of each."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import torch

__all__ = ["cut_names", "cut_places", "cut_volume"]

_NAMES = {"R": "sagittal", "L": "sagittal", "A": "coronal", "P": "coronal", "S": "axial", "I": "axial"}
AXES = (2, 1, 0)  # that the cuts are across: axial, coronal and sagittal ones of a volume in RAS orientation


def cut_names(affine: torch.Tensor) -> list[str]:
    """What the cuts across each of ``AXES`` are called, for a volume with this affine to RAS, ``(4, 4)``."""
    codes = nib.aff2axcodes(affine.cpu().numpy())
    return [_NAMES[codes[axis]] for axis in AXES]


def cut_places(shape: Sequence[int], where: torch.Tensor | None = None) -> list[int]:
    """Index of the cut across each of ``AXES``.

    Args:
        shape: of the volume, three numbers.
        where: ``(..., X, Y, Z)``: the cuts go through the planes with most of its magnitude, and where it is None or 0
            everywhere, through the middle.
    """
    places = []
    for axis in AXES:
        place = shape[axis] // 2
        if where is not None:
            amounts = where.abs().flatten(0, -4).sum(dim=[0, *(1 + other for other in range(3) if other != axis)])
            place = int(amounts.argmax()) if amounts.any() else place
        places.append(place)
    return places


def cut_volume(volume: torch.Tensor, places: Sequence[int]) -> list[torch.Tensor]:
    """The cuts ``(..., A, B)`` of a volume ``(..., X, Y, Z)`` across each of ``AXES``; A and B keep their order."""
    return [volume.select(volume.ndim - 3 + axis, place) for axis, place in zip(AXES, places)]
