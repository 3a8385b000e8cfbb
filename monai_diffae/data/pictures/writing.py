# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from monai.config import PathLike
from monai.data import PILWriter
from PIL import Image

from monai_diffae.support.atomic_files import replacing
from monai_diffae.support.finite import check_finite

__all__ = ["PictureWriter"]


class PictureWriter(PILWriter):
    """Writes pictures as PNG files with 8 bits a channel, for MONAI's ``SaveImaged``; the counterpart of PictureReader.

    Pictures are ``(C, rows, columns)`` with one channel (grey) or three (RGB), -1 (black) to 1 (white); what lies
    outside is clipped. Values are rounded (MONAI's PILWriter cuts them off), so that what was read from 8 bits is
    written unchanged. A file appears when it is complete; one that is not finite is refused.
    """

    def write(self, filename: PathLike, verbose: bool = False, **kwargs: Any) -> None:
        """Write ``filename``, a PNG file whatever its name."""
        check_finite(torch.as_tensor(np.asarray(self.data_obj, dtype=np.float32)), "picture", os.fspath(filename))
        pixels = np.clip((np.asarray(self.data_obj, dtype=np.float32) + 1) * 127.5, 0, 255).round().astype(np.uint8)
        if pixels.ndim == 3 and pixels.shape[-1] == 1:
            pixels = pixels[..., 0]
        with replacing(filename) as partial:
            Image.fromarray(pixels).save(partial, format="PNG")
