# SPDX-License-Identifier: Apache-2.0
"""What a loaded volume must be: somewhere in space, and of finite numbers."""

from __future__ import annotations

import logging

import torch

__all__ = ["MAX_EXTENT", "NOT_FINITE", "check_geometry", "finite_voxels"]

logger = logging.getLogger(__name__)

NOT_FINITE = ("replace", "refuse")
MAX_EXTENT = 10_000.0  # mm; what is longer has another unit
_MIN_DETERMINANT = 1e-6  # of the directions of the axes; 0 if they lie in a plane


def check_geometry(file: str, shape: torch.Size, affine: torch.Tensor, max_extent: float = MAX_EXTENT) -> None:
    """Refuse voxels without a place.

    Args:
        file: for the message.
        shape: ``(C, X, Y, Z)``.
        affine: ``(4, 4)``, in mm.
        max_extent: mm.

    Raises:
        ValueError: for an affine that is not finite, squeezes space flat, or makes the volume longer than
            ``max_extent``.
    """
    if not torch.isfinite(affine).all():
        raise ValueError(
            f"{file}: the affine in its header is not finite, so that its voxels have no place: {affine.tolist()}."
        )
    sizes = affine[:3, :3].norm(dim=0)
    if bool((sizes == 0).any()) or abs(float(torch.linalg.det(affine[:3, :3] / sizes))) < _MIN_DETERMINANT:
        raise ValueError(
            f"{file}: the affine in its header is singular (voxels of {_in_words(sizes)} mm along axes that span no "
            f"space), so that its voxels have no place: {affine.tolist()}."
        )
    extent = sizes * torch.tensor(shape[1:])
    if float(extent.max()) > max_extent:
        raise ValueError(
            f"{file}: by its header it is {_in_words(extent)} mm large (voxels of {_in_words(sizes)} mm); the header "
            "may be in another unit. Correct it."
        )


def finite_voxels(image: torch.Tensor, file: str, not_finite: str = "replace", tell: bool = True) -> torch.Tensor:
    """The image with finite numbers: what is not one (or infinite as float32) is replaced, or refused.

    Args:
        image: float32.
        file: for the message.
        not_finite: ``replace`` takes the highest finite voxel for plus infinity and the lowest for what else is not
            finite; or ``refuse``.
        tell: log how many there were.

    Raises:
        ValueError: for an image without finite numbers, and with ``refuse`` for one number that is not.
    """
    finite = torch.isfinite(image)
    if finite.all():
        return image
    count, size = int((~finite).sum()), image.numel()
    kinds = f"{int(image.isnan().sum())} NaN, {int(image.isinf().sum())} infinite"
    found = f"{count} of {size} voxels are not finite ({kinds})"
    if count == size or not_finite == "refuse":
        advice = "" if count == size else "; not_finite=replace takes its lowest and highest voxels in their place"
        raise ValueError(f"{file}: {found}{advice}.")
    low, high = float(image[finite].min()), float(image[finite].max())
    if tell:
        logger.warning(f"{file}: {found} and became {low:g}, or {high:g} where they are plus infinity.")
    return image.nan_to_num(nan=low, posinf=high, neginf=low)


def _in_words(lengths: torch.Tensor) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths.tolist())
