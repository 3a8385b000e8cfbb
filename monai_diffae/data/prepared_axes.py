# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

__all__ = ["checked_orientation", "checked_spacing"]

_AXES = ("AP", "IS", "LR")


def checked_spacing(spacing: Sequence[float]) -> list[float]:
    """The size of voxels to resample to, for MONAI's ``Spacingd``, which takes 0 for "as it is" and -3 for 3.

    Args:
        spacing: mm along three axes; -1 keeps the source's.

    Raises:
        ValueError: for another number of sizes, or one that is neither positive nor -1.
    """
    sizes = list(spacing) if isinstance(spacing, Sequence) and not isinstance(spacing, str) else [spacing]
    if len(sizes) != 3 or not all(isinstance(s, Real) and (0 < s < float("inf") or s == -1) for s in sizes):
        raise ValueError(
            "spacing is three sizes of voxels in mm, greater than 0 (pixdim is one for all of them), or -1 for the "
            f"source's; got {sizes}."
        )
    return sizes


def checked_orientation(orientation: str) -> str:
    """What the axes of a prepared volume lead to, for MONAI's ``Orientationd``: ``RAS`` is right, anterior, superior.

    Raises:
        ValueError: for other letters, or two for one axis.
    """
    letters = list(orientation) if isinstance(orientation, str) else []
    if sorted(axis for letter in letters for axis in _AXES if letter in axis) != list(_AXES) or len(letters) != 3:
        raise ValueError(
            f"orientation is three letters, one each of L or R, A or P, and I or S, such as RAS; got {orientation!r}."
        )
    return orientation
