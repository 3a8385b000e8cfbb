# SPDX-License-Identifier: Apache-2.0
"""From DICOM's stored pixels to intensities: bright is high, whatever the photometric interpretation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from monai_diffae.data.dicom.planes import Plane

__all__ = ["intensities"]

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, as for pictures


def intensities(dataset: Any, planes: Sequence[Plane], tell: Callable[[str], None]) -> np.ndarray:
    """Intensities of the frames of a file.

    Stored values are rescaled by the file's or the frame's slope and intercept, or its table (Modality LUT). Of
    MONOCHROME1, where low is bright, they are turned over in the range of their bits before. Colours (RGB, YBR,
    palettes) become grey by their luma.

    Args:
        dataset: of pydicom.
        planes: of its frames.
        tell: says what is converted.

    Returns:
        ``(frames, rows, columns)``, of the stored type where they are neither rescaled nor of colours, else integers of
        32 bits where slope and intercept are integers, else float64.

    Raises:
        ValueError: for pixels that are damaged or compressed in a way for which no decoder is installed.
    """
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    try:
        pixels = dataset.pixel_array  # YBR becomes RGB
    except (RuntimeError, NotImplementedError) as error:
        syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
        if syntax is None or not syntax.is_compressed:
            raise ValueError(f"its pixels cannot be read: {error}") from None
        raise ValueError(
            f"its pixels are compressed ({syntax.name}) and no decoder is installed that reads them; to read them: "
            "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        ) from None
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric.startswith("PALETTE"):
        pixels = apply_color_lut(pixels, dataset)
    colours = int(dataset.get("SamplesPerPixel", 1)) > 1 or photometric.startswith("PALETTE")
    shape = (len(planes), int(dataset.Rows), int(dataset.Columns))
    if colours:
        tell(f"is in colour ({photometric}) and becomes grey")
        return np.rint(pixels.reshape(*shape, -1)[..., :3] @ _LUMA).astype(np.int32)
    pixels = pixels.reshape(shape)
    table = bool(dataset.get("ModalityLUTSequence"))
    if table:
        pixels = apply_modality_lut(pixels, dataset)
    if photometric == "MONOCHROME1":
        tell("has low values for bright (MONOCHROME1) and is turned over")
        pixels = _turned_over(pixels, dataset, table)
    if table or all(plane.slope == 1 and plane.intercept == 0 for plane in planes):
        return pixels
    values = np.stack([frame * plane.slope + plane.intercept for frame, plane in zip(pixels, planes)])
    whole = pixels.dtype.kind in "iu" and all(plane.slope % 1 == plane.intercept % 1 == 0 for plane in planes)
    return values.astype(np.int32) if whole and np.abs(values).max(initial=0) < 2**31 else values


def _turned_over(pixels: np.ndarray, dataset: Any, table: bool) -> np.ndarray:
    """In the range of the bits, which all slices of a series share."""
    bits = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2] if table else dataset.get("BitsStored", 16))
    signed = not table and int(dataset.get("PixelRepresentation", 0)) == 1
    turned = (-1 if signed else 2**bits - 1) - pixels.astype(np.int64)
    return turned.astype(np.int32) if bits < 32 else turned
