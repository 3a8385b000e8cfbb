# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine
from monai.utils import convert_to_tensor
from PIL import Image

from monai_diffae.results.cuts import cut_places, cut_volume
from monai_diffae.results.evaluator_handler import EvaluatorHandler
from monai_diffae.support.atomic_files import replacing

__all__ = ["MontageSaver"]

_GAP = 2  # pixels between two images
_MIN_SIDE = 64  # smaller images are enlarged by whole factors, their pixels kept square


class MontageSaver(EvaluatorHandler):
    """Draws the first results of an evaluator side by side, in about as many rows as columns.

    A volume is shown by three orthogonal cuts through its middle, side by side.

    Args:
        filename: PNG file; written when the run has ended.
        key: of the evaluator's output, images of one or three channels, ``(C, X, Y)``, or ``(C, rows, columns)`` if not
            ``y_up``; or volumes ``(C, X, Y, Z)``.
        max_images: at most so many are shown.
        value_range: black and white.
        y_up: the second spatial axis points up (volumes in RAS orientation); False for pictures, whose first spatial
            axis counts rows from the top.
        spatial_dims: 2 for images, 3 for volumes.

    Raises:
        ValueError: for fewer than one image or other ``spatial_dims``.
    """

    def __init__(
        self,
        filename: str | os.PathLike,
        key: str,
        max_images: int = 64,
        value_range: Sequence[float] = (-1.0, 1.0),
        y_up: bool = True,
        spatial_dims: int = 2,
    ) -> None:
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 (images) or 3 (volumes), got {spatial_dims}.")
        if max_images < 1:
            raise ValueError(f"max_images must be 1 or more, got {max_images}.")
        self.filename = Path(filename)
        self.key = key
        self.max_images = max_images
        self.value_range = value_range
        self.y_up = y_up
        self.spatial_dims = spatial_dims

    def _start(self, engine: Engine) -> None:
        self._images: list[np.ndarray] = []

    def _collect(self, engine: Engine) -> None:
        for output in engine.state.output[: self.max_images - len(self._images)]:
            self._images.append(self._pixels(convert_to_tensor(output[self.key], track_meta=False).float().cpu()))

    def _pixels(self, image: torch.Tensor) -> np.ndarray:
        """An image to bytes, rows from the top, three channels."""
        shape = image.shape[1:]
        planes = [image] if self.spatial_dims == 2 else cut_volume(image, cut_places(shape))
        low, high = self.value_range
        pixels = []
        for plane in planes:
            values = np.moveaxis(np.clip((plane.numpy() - low) / (high - low), 0, 1), 0, -1)
            values = np.rot90(values) if self.y_up else values
            factor = -(-_MIN_SIDE // min(shape))
            values = (255 * values + 0.5).astype(np.uint8).repeat(factor, axis=0).repeat(factor, axis=1)
            pixels.append(np.broadcast_to(values, (*values.shape[:2], 3)))
        height = max(len(values) for values in pixels)
        return np.concatenate(
            [np.pad(values, ((0, height - len(values)), (0, 0), (0, 0))) for values in pixels], axis=1
        )

    def _finish(self, engine: Engine) -> None:
        if not self._images:
            return
        columns = math.ceil(math.sqrt(len(self._images)))
        rows = math.ceil(len(self._images) / columns)
        height, width = (side + _GAP for side in self._images[0].shape[:2])
        canvas = np.full((rows * height - _GAP, columns * width - _GAP, 3), 255, dtype=np.uint8)
        for i, image in enumerate(self._images):
            top, left = i // columns * height, i % columns * width
            canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
        with replacing(self.filename) as partial:
            Image.fromarray(canvas).save(partial, format="PNG")
