# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events
from monai.utils import convert_to_numpy
from PIL import Image

__all__ = ["MontageSaver"]

_GAP = 2  # pixels between two images
_MIN_SIDE = 64  # smaller images are enlarged by whole factors, their pixels kept square


class MontageSaver:
    """Draws the first results of an evaluator side by side, in about as many rows as columns.

    Args:
        filename: PNG file; written when the run has ended.
        key: of the evaluator's output, images of one or three channels, ``(C, X, Y)``, or ``(C, rows, columns)`` if not
            ``y_up``.
        max_images: at most so many are shown.
        value_range: black and white.
        y_up: the second spatial axis points up (volumes in RAS orientation); False for pictures, whose first spatial
            axis counts rows from the top.

    Raises:
        ValueError: for fewer than one image.
    """

    def __init__(
        self,
        filename: str | os.PathLike,
        key: str,
        max_images: int = 64,
        value_range: Sequence[float] = (-1.0, 1.0),
        y_up: bool = True,
    ) -> None:
        if max_images < 1:
            raise ValueError(f"max_images must be 1 or more, got {max_images}.")
        self.filename = Path(filename)
        self.key = key
        self.max_images = max_images
        self.value_range = value_range
        self.y_up = y_up

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator whose output is a list of dictionaries (MONAI's ``decollate=True``).
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self, engine: Engine) -> None:
        self._images: list[np.ndarray] = []

    def _collect(self, engine: Engine) -> None:
        for output in engine.state.output[: self.max_images - len(self._images)]:
            self._images.append(self._pixels(convert_to_numpy(output[self.key])))

    def _pixels(self, image: np.ndarray) -> np.ndarray:
        """An image to bytes, rows from the top, three channels."""
        low, high = self.value_range
        image = np.moveaxis(np.clip((image.astype(np.float32) - low) / (high - low), 0, 1), 0, -1)
        image = np.rot90(image) if self.y_up else image
        factor = -(-_MIN_SIDE // min(image.shape[:2]))
        image = (255 * image + 0.5).astype(np.uint8).repeat(factor, axis=0).repeat(factor, axis=1)
        return np.broadcast_to(image, (*image.shape[:2], 3))

    def _draw(self, engine: Engine) -> None:
        if not self._images:
            return
        columns = math.ceil(math.sqrt(len(self._images)))
        rows = math.ceil(len(self._images) / columns)
        height, width = (side + _GAP for side in self._images[0].shape[:2])
        canvas = np.full((rows * height - _GAP, columns * width - _GAP, 3), 255, dtype=np.uint8)
        for i, image in enumerate(self._images):
            top, left = i // columns * height, i % columns * width
            canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
        self.filename.parent.mkdir(parents=True, exist_ok=True)
        partial = self.filename.with_name(self.filename.name + ".partial")
        Image.fromarray(canvas).save(partial, format="PNG")
        os.replace(partial, self.filename)
