# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader
from monai.utils import MetaKeys, ensure_tuple
from PIL import Image, ImageOps

__all__ = ["PictureReader"]


class PictureReader(ImageReader):
    """Reads PNG, JPEG, TIFF and WebP files right, for MONAI's ``LoadImaged``.

    Any file becomes float32, -1 (black) to 1 (white), ``(rows, columns)`` for grey or ``(rows, columns, 3)`` for RGB:

    - 1, 8 and 16 bits a pixel are scaled by what their bits can hold. (Pillow reads 16-bit *colour* PNG files with 8.)
    - Photographs are turned as their EXIF orientation says.
    - Palettes are looked up, CMYK and YCbCr are converted; an embedded colour profile is not applied.
    - Transparent pixels are composited on ``background``.
    - Colours become grey by their luma (ITU-R 601-2). Of several pages or frames the first is read.

    The metadata hold ``spatial_shape``, rows and columns of the turned picture.

    Args:
        channels: 1 reads every picture as grey, 3 as RGB.
        background: grey behind transparent pixels, -1 (black) to 1 (white).

    Raises:
        ValueError: for other ``channels`` or ``background``; and while it reads, naming the file, for one that is
            missing, damaged or no picture, and for pixels without a defined black and white (float, 32-bit or signed
            integers, as TIFF allows): rescale those to 8 or 16 bits.
    """

    def __init__(self, channels: int, background: float = 1.0) -> None:
        if channels not in (1, 3) or not -1 <= background <= 1:
            raise ValueError(
                f"Expected channels 1 (grey) or 3 (RGB) and background in [-1, 1], got {channels} and {background}."
            )
        self.channels = channels
        self.background = background

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether the names end like those of pictures."""
        suffixes = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
        return all(os.fspath(name).lower().endswith(suffixes) for name in ensure_tuple(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Path:
        """The path alone: where this fails, MONAI's LoadImage goes on to readers that would get the pixels wrong."""
        (file,) = ensure_tuple(data)
        return Path(file)

    def get_data(self, img: Path) -> tuple[np.ndarray, dict]:
        """Pixels and metadata of the file."""
        try:
            with Image.open(img) as image:
                pixels = self._pixels(ImageOps.exif_transpose(image))
        except Exception as error:  # Pillow's decoders have many names for a damaged file
            # From None: of a chain, print_root_cause shows users the first error, which does not name the file.
            raise ValueError(f"{img} cannot be read as a picture: {error}") from None
        channel_dim = -1 if pixels.ndim == 3 else float("nan")
        meta = {MetaKeys.SPATIAL_SHAPE: np.asarray(pixels.shape[:2]), MetaKeys.ORIGINAL_CHANNEL_DIM: channel_dim}
        return pixels, meta

    def _pixels(self, image: Image.Image) -> np.ndarray:
        # 16-bit grey; Pillow before version 11 calls it "I" in PNG files.
        if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
            grey = np.asarray(image).astype(np.float32) / np.float32(32767.5) - 1
            return grey if self.channels == 1 else np.repeat(grey[..., None], 3, axis=-1)
        if image.mode in ("I", "F"):
            raise ValueError(
                f"its pixels (Pillow's mode {image.mode!r}) are floats or integers for which black and white are not "
                "defined; rescale it to 8 or 16 bits first."
            )
        if image.has_transparency_data:
            level = round((self.background + 1) * 127.5)
            behind = Image.new("RGBA", image.size, (level, level, level, 255))
            image = Image.alpha_composite(behind, image.convert("RGBA"))
        if image.mode not in ("L", "RGB"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        return np.asarray(image.convert("L" if self.channels == 1 else "RGB")).astype(np.float32) / 127.5 - 1
