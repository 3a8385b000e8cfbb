# SPDX-License-Identifier: Apache-2.0
"""How a written digit looks, measured: slant and stroke thickness. Images are ink on paper, from 0 up."""

from __future__ import annotations

import numpy as np
from monai.utils import optional_import
from scipy import ndimage

__all__ = ["measure_slant", "measure_thickness"]

_UPSAMPLING = 4


def measure_slant(image: np.ndarray) -> float:
    """Slant from the second moments of the ink, in degrees from the vertical.

    Positive leans to the right (``/``), negative to the left. The shear that the usual deskewing of MNIST undoes is
    ``mu11 / mu02``, in columns to the right a row *downwards*; here it is ``atan(-mu11 / mu02)``, so that upright is 0
    and an italic hand is positive. ``mu11`` and ``mu02`` are the central moments xy and yy (x right, y down).

    Args:
        image: shape ``(rows, columns)``, with ink.
    """
    y, x = np.indices(image.shape, dtype=np.float64)
    ink = image / image.sum(dtype=np.float64)
    x, y = x - (x * ink).sum(), y - (y * ink).sum()
    return float(np.degrees(np.arctan(-(x * y * ink).sum() / (y * y * ink).sum())))


def measure_thickness(image: np.ndarray) -> float:
    """Mean thickness of the strokes, in pixels.

    Twice the mean distance from the strokes' skeleton to the nearest paper. As in Morpho-MNIST (Castro et al., JMLR
    2019), the image is upsampled four times first; ink is what is above half of the darkest.

    Args:
        image: shape ``(rows, columns)``, with ink.

    Raises:
        ImportError: if scikit-image is missing.
    """
    skeletonize, found = optional_import("skimage.morphology", name="skeletonize")
    if not found:
        raise ImportError("Measuring strokes needs scikit-image, which is missing; pip install 'monai-diffae[demo]'.")
    large = ndimage.zoom(image.astype(np.float32), _UPSAMPLING, order=1, grid_mode=True, mode="grid-constant")
    ink = large > image.max() / 2
    distance = ndimage.distance_transform_edt(ink)
    return float(2 * distance[skeletonize(ink)].mean() / _UPSAMPLING)
