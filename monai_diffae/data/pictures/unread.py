# SPDX-License-Identifier: Apache-2.0
"""Why a picture is not read that other programs read: Pillow says only that it cannot identify it."""

from __future__ import annotations

import warnings

from monai.config import PathLike
from PIL import TiffImagePlugin

__all__ = ["why_not_identified"]

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLES_PER_PIXEL, _SAMPLE_FORMAT = 258, 262, 277, 339
_KINDS = {2: "signed ", 3: "floating-point "}
_COLOURS = {0: "grey with white as zero", 1: "grey", 2: "RGB", 3: "a palette", 5: "CMYK", 6: "YCbCr", 8: "CIE L*a*b*"}


def why_not_identified(file: PathLike) -> str:
    """What is known of a file that Pillow cannot identify, and what to do: of TIFF the kind of its pixels."""
    try:
        with open(file, "rb") as f:
            head = f.read(8)
            if not head:
                return "it is empty"
            if head[:4] not in (b"II*\0", b"MM\0*"):
                return "it is no picture of a kind that Pillow reads, or damaged"
            tags = TiffImagePlugin.ImageFileDirectory_v2(head)
            f.seek(tags.next)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a damaged one
                tags.load(f)
        colours = _COLOURS.get(tags[_PHOTOMETRIC], "of another kind")
        bits = tags[_BITS_PER_SAMPLE][0] if _BITS_PER_SAMPLE in tags else 1
        kind = _KINDS.get((tags.get(_SAMPLE_FORMAT) or (1,))[0], "")
        channels = tags.get(_SAMPLES_PER_PIXEL, 1)
    except Exception:  # a damaged directory
        return "it is a damaged TIFF"
    return (
        f"Pillow does not read TIFF with {channels} channel{'s' * (channels > 1)} of {bits} {kind}bits, {colours}; "
        "save it with 8 or 16 bits"
    )
