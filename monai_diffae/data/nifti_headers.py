# SPDX-License-Identifier: Apache-2.0
"""What the header of a NIfTI file says about the places of its voxels, where it says it more than once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nibabel as nib
import numpy as np
from monai.config import PathLike

__all__ = ["tell_of_places", "unit_in_mm"]

_TOLERANCE = 0.01  # of a voxel's size; and of the volume's, for its far corner
_UNITS = {"meter": 1000.0, "micron": 0.001}


def unit_in_mm(header: Any, file: PathLike, tell: Callable[[str, PathLike], None]) -> float:
    """Of the lengths in a header. ``tell`` is called where they are not mm, with the file."""
    if not isinstance(header, nib.Nifti1Header):
        return 1.0
    unit = header.get_xyzt_units()[0]
    if unit in _UNITS:
        tell(f"is in the unit {unit} by its header; lengths are turned into mm", file)
    return _UNITS.get(unit, 1.0)


def tell_of_places(header: Any, shape: tuple[int, ...], file: PathLike, tell: Callable[[str, PathLike], None]) -> None:
    """Say which of sform, qform and pixdim is taken where they disagree, or that there is none.

    Args:
        header: of nibabel; of other formats than NIfTI nothing is said.
        shape: of the file.
        file: to name.
        tell: called with what is done, and the file.
    """
    if not isinstance(header, nib.Nifti1Header):
        return
    sform, qform = (header[f"{name}_code"] > 0 for name in ("sform", "qform"))
    if not sform and not qform:
        tell("has neither sform nor qform; its axes are taken for left, anterior, superior, with pixdim in mm", file)
        return
    affine = header.get_best_affine()
    taken = "sform" if sform else "qform"
    size = np.linalg.norm(affine[:3, :3], axis=0)
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], dtype=float))
    count = min(3, len(shape))
    if not np.allclose(size[:count], pixdim[:count], rtol=_TOLERANCE):
        tell(f"has voxels of other sizes by its {taken} than by its pixdim; the {taken} is taken", file)
    elif sform and qform and not _same_places(affine, header, shape, float(size.max())):
        tell("has an sform and a qform that disagree; the sform is taken", file)


def _same_places(affine: np.ndarray, header: Any, shape: tuple[int, ...], size: float) -> bool:
    """Whether the qform puts the corners of the volume where the affine does, to within a voxel."""
    try:
        other = header.get_qform()
    except Exception:  # a quaternion of no rotation; it is not taken
        return False
    ends = [range(0, max(n, 2), max(n - 1, 1)) for n in (*shape[:3], 1, 1, 1)[:3]]
    corners = np.array(np.meshgrid(*ends, [1])).reshape(4, -1)
    return bool(np.abs((affine - other) @ corners).max() <= size)
