# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader
from monai.utils import MetaKeys, ensure_tuple
from PIL import Image, ImageOps, UnidentifiedImageError

from monai_diffae.data.formats import PICTURES, format_of
from monai_diffae.data.pictures.unread import why_not_identified
from monai_diffae.support.telling import OnceTold

__all__ = ["PictureReader"]

# Tags of TIFF
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_SAMPLE_FORMAT = 339


class PictureReader(ImageReader):
    """Reads PNG, JPEG, TIFF, WebP, BMP and GIF files right, for MONAI's ``LoadImaged``.

    Any file becomes float32, -1 (black) to 1 (white), ``(rows, columns)`` for grey or ``(rows, columns, 3)`` for RGB:

    - 1 to 16 bits a pixel are scaled by what their bits can hold, and turned over where white is zero (TIFF).
    - Photographs are turned as their EXIF orientation says.
    - Palettes are looked up, CMYK and YCbCr are converted; an embedded colour profile is not applied.
    - Transparent pixels are composited on ``background``.
    - Colours become grey by their luma (ITU-R 601-2). Of 16-bit colours (and of 16-bit grey with transparency) Pillow
      reads 8 bits. Of several pages or frames the first is read.

    What of this loses something is said when the first such file comes: colours and bits that are lost, pages that are
    left out, transparency and CMYK.

    The metadata hold ``spatial_shape``, rows and columns of the turned picture.

    Args:
        channels: 1 reads every picture as grey, 3 as RGB.
        background: grey behind transparent pixels, -1 (black) to 1 (white).

    Raises:
        ValueError: for other ``channels`` or ``background``; and while it reads, naming the file, for one that is
            missing, damaged or no picture (that Pillow reads), and for pixels without a defined black and white (float,
            32-bit or signed integers, as TIFF allows): rescale those to 8 or 16 bits.
    """

    def __init__(self, channels: int, background: float = 1.0) -> None:
        if channels not in (1, 3) or not -1 <= background <= 1:
            raise ValueError(
                f"Expected channels 1 (grey) or 3 (RGB) and background in [-1, 1], got {channels} and {background}."
            )
        self.channels = channels
        self.background = background
        self._told = OnceTold()

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether the names end like those of pictures."""
        return all(format_of(name) is PICTURES for name in ensure_tuple(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Path:
        """The path alone: where this fails, MONAI's LoadImage goes on to readers that would get the pixels wrong."""
        (file,) = ensure_tuple(data)
        return Path(file)

    def get_data(self, img: Path) -> tuple[np.ndarray, dict]:
        """Pixels and metadata of the file."""
        try:
            with Image.open(img) as image:
                stored = _Stored.of(image)
                pixels = self._pixels(ImageOps.exif_transpose(image), stored, functools.partial(self._tell, img))
        except UnidentifiedImageError:
            raise ValueError(f"{img} cannot be read as a picture: {why_not_identified(img)}.") from None
        except Exception as error:  # Pillow's decoders have many names for a damaged file
            # From None: of a chain, print_root_cause shows users the first error, which does not name the file.
            raise ValueError(f"{img} cannot be read as a picture: {error}") from None
        channel_dim = -1 if pixels.ndim == 3 else float("nan")
        meta = {MetaKeys.SPATIAL_SHAPE: np.asarray(pixels.shape[:2]), MetaKeys.ORIGINAL_CHANNEL_DIM: channel_dim}
        return pixels, meta

    def _tell(self, file: Path, what: str) -> None:
        self._told(what, file)

    def _pixels(self, image: Image.Image, stored: _Stored, tell: Callable[[str], None]) -> np.ndarray:
        if stored.pages > 1:
            tell("has several pages or frames, of which the first is read")
        # 16-bit grey; Pillow before version 11 calls it "I" in PNG files.
        if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
            grey = self._deep(np.asarray(image), image.info.get("transparency"), stored, tell)
            return grey if self.channels == 1 else np.repeat(grey[..., None], 3, axis=-1)
        if image.mode in ("I", "F") or stored.signed:
            raise ValueError(
                f"its pixels (Pillow's mode {image.mode!r}{', signed' if stored.signed else ''}) are floats or "
                "integers for which black and white are not defined; rescale it to 8 or 16 bits first."
            )
        if stored.bits > 8:
            tell(f"has {stored.bits} bits a channel, of which the upper 8 are read")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if image.getchannel("A").getextrema()[0] < 255:
                tell("has transparent pixels, which show the background")
            level = round((self.background + 1) * 127.5)
            image = Image.alpha_composite(Image.new("RGBA", image.size, (level, level, level, 255)), image)
            image = image.convert("RGB")
        if image.mode == "CMYK":
            tell("is in CMYK and becomes RGB without a colour profile")
        if image.mode not in ("L", "RGB"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        if image.mode == "RGB" and self.channels == 1 and _is_coloured(image):
            tell("is in colour and is read as grey")
        return np.asarray(image.convert("L" if self.channels == 1 else "RGB")).astype(np.float32) / 127.5 - 1

    def _deep(self, pixels: np.ndarray, transparent: Any, stored: _Stored, tell: Callable[[str], None]) -> np.ndarray:
        """More than 8 bits of grey, in [-1, 1]."""
        white = 2**stored.bits - 1 if stored.bits > 8 else 65535
        grey = pixels.astype(np.float32) / np.float32(white / 2) - 1
        if stored.white_is_zero:
            grey = -grey
        if isinstance(transparent, int) and (pixels == transparent).any():  # PNG names one level
            tell("has transparent pixels, which show the background")
            grey[pixels == transparent] = self.background
        return grey


@dataclasses.dataclass(frozen=True)
class _Stored:
    """What a file says of its pixels and Pillow does not heed, or does not say once they are read.

    Args:
        bits: a channel, 0 where the mode tells it.
        white_is_zero: of TIFF; with up to 8 bits, Pillow heeds it.
        signed: integers of TIFF, which Pillow reads as unsigned where they have 8 bits.
        pages: or frames.
    """

    bits: int
    white_is_zero: bool
    signed: bool
    pages: int

    @classmethod
    def of(cls, image: Image.Image) -> _Stored:
        """Of an image that is open but not read yet."""
        tags = getattr(image, "tag_v2", {})
        bits = max(tags.get(_BITS_PER_SAMPLE) or (0,))
        if image.format == "PNG" and any(";16" in str(tile[3]) for tile in image.tile):
            bits = 16
        return cls(
            bits=bits,
            white_is_zero=tags.get(_PHOTOMETRIC) == 0,
            signed=2 in (tags.get(_SAMPLE_FORMAT) or ()),
            # MPO: a photograph with previews and the like behind it.
            pages=1 if image.format == "MPO" else getattr(image, "n_frames", 1),
        )


def _is_coloured(image: Image.Image) -> bool:
    red, green, blue = image.split()
    return not (red.tobytes() == green.tobytes() == blue.tobytes())
