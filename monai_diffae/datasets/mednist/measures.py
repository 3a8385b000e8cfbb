# SPDX-License-Identifier: Apache-2.0
"""Shapes of hands and heads in MedNIST, measured on the pictures. Brightness and contrast do not change them."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

__all__ = ["MEASURES", "foreground", "measure_elongation", "measure_shapes", "measure_size", "measure_tilt"]

_LEVEL = 0.12  # of the way from the background to the brightest 3 %
_MIN_SIZE = 0.02  # of the picture; less is no hand and no head
_MAX_FILLED = 0.85  # of its bounding box; more is a bright frame around the hand


def foreground(image: np.ndarray) -> np.ndarray:
    """The object in front of a dark background: the largest connected part that is brighter, without its holes.

    Args:
        image: grey, shape ``(rows, columns)``; any range.

    Returns:
        Its mask, bool, the same shape; all False for a picture without contrast.
    """
    image = np.asarray(image, dtype=np.float64)
    border = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    background, bright = np.median(border), np.percentile(image, 97)
    if bright <= background:
        return np.zeros(image.shape, dtype=bool)
    parts, count = ndimage.label(ndimage.binary_opening(image > background + _LEVEL * (bright - background)))
    if count == 0:
        return np.zeros(image.shape, dtype=bool)
    sizes = ndimage.sum_labels(np.ones(image.shape), parts, range(1, count + 1))
    return ndimage.binary_fill_holes(parts == 1 + int(np.argmax(sizes)))


def measure_size(mask: np.ndarray) -> float:
    """Share of the picture that the object covers, 0 to 1."""
    return float(mask.mean())


def measure_elongation(mask: np.ndarray) -> float:
    """``log2`` of the object's height over its width, each the standard deviation of its pixels: 0 is as high as wide,
    1 is twice as high."""
    (yy, _), (_, xx) = _covariance(mask)
    return float(0.5 * math.log2(yy / xx))


def measure_tilt(mask: np.ndarray) -> float:
    """Angle of the object's long axis from the vertical in degrees, -90 to 90, positive to the right (``/``)."""
    (yy, xy), (_, xx) = _covariance(mask)
    return float(np.degrees(0.5 * math.atan2(-2 * xy, yy - xx)))


def _filled(mask: np.ndarray) -> float:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return mask.sum() / ((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1))


def _covariance(mask: np.ndarray) -> np.ndarray:
    """2x2, of rows (down) and columns (right); with the variance inside a pixel, so that a line has a width."""
    return np.cov(np.argwhere(mask).T, bias=True) + np.eye(2) / 12


MEASURES = {  # column of the table: class that it is measured in, function
    "hand_size": ("Hand", measure_size),
    "hand_tilt": ("Hand", measure_tilt),
    "head_size": ("HeadCT", measure_size),
    "head_elongation": ("HeadCT", measure_elongation),
}


def measure_shapes(image: np.ndarray, image_class: str) -> dict[str, float]:
    """All of :data:`MEASURES` of a picture; NaN for those of another class and where there is no object.

    Args:
        image: grey, shape ``(rows, columns)``, rows from the top.
        image_class: one of MedNIST's six.
    """
    mask = foreground(image)
    shown = mask.mean() >= _MIN_SIZE and _filled(mask) <= _MAX_FILLED
    return {
        name: measure(mask) if shown and image_class == measured_class else math.nan
        for name, (measured_class, measure) in MEASURES.items()
    }
