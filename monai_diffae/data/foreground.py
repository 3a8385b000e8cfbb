# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import CropForegroundd
from monai.utils import convert_to_tensor

__all__ = ["CropToForegroundd"]


class CropToForegroundd(CropForegroundd):
    """MONAI's CropForegroundd with a threshold that suits the modality, and an error that names the file.

    Args:
        keys: what is cropped, to the same box.
        source_key: image ``(C, *spatial)`` whose foreground it is.
        threshold: intensity above which the foreground is; lower than all for no crop. ``None`` for the lower end of
            ``window``, or without one for the image's lowest intensity, which is what lies around a skull-stripped
            brain (0) and around a picture (-1).
        window: intensities that become black and white, as of :class:`~monai_diffae.data.RescaleIntensityd`: what is
            shown black is no foreground, as the air of a CT.
        allow_missing_keys: do nothing for a key that an item lacks.

    Raises:
        ValueError: when called, for an image without foreground, by the name of its file.
    """

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str,
        threshold: float | None = None,
        window: tuple[float, float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        self.threshold = window[0] if threshold is None and window is not None else threshold
        super().__init__(keys, source_key, self._foreground, allow_smaller=True, allow_missing_keys=allow_missing_keys)

    def _foreground(self, image: torch.Tensor) -> torch.Tensor:
        return image > (image.min() if self.threshold is None else self.threshold)

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        image = data[self.source_key]
        values = convert_to_tensor(image, track_meta=False)
        if not self._foreground(values).any():
            file = getattr(image, "meta", {}).get("filename_or_obj", "An image")
            low, high = float(values.min()), float(values.max())
            found = f"all of it is {low:g}" if low == high else f"its intensities are {low:g} to {high:g}"
            raise ValueError(
                f"{file} has no foreground: {found}, and foreground are intensities above "
                f"{low if self.threshold is None else self.threshold:g}. Leave the file out, or set "
                "foreground_threshold; lower than all intensities, nothing is cropped."
            )
        return super().__call__(data, lazy)
