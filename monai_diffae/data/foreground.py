# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import CropForegroundd
from monai.utils import convert_to_tensor

from monai_diffae.data.intensity import rising_pair
from monai_diffae.support.telling import OnceTold

__all__ = ["CropToForegroundd"]

_MIN_VOXELS = 2  # on each side of a slice
_FEW_VOXELS = 8


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
        ValueError: for a window that is not two numbers in rising order; when called, by the name of its file, for an
            image without foreground, or with one of a single row of voxels across the last axis. Of one of a few voxels
            a line is logged.
    """

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str,
        threshold: float | None = None,
        window: tuple[float, float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        lowest = None if window is None else rising_pair("window", window)[0]
        self.threshold = lowest if threshold is None else threshold
        self._told = OnceTold()
        super().__init__(keys, source_key, self._foreground, allow_smaller=True, allow_missing_keys=allow_missing_keys)

    def _foreground(self, image: torch.Tensor) -> torch.Tensor:
        return image > (image.min() if self.threshold is None else self.threshold)

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        image = data[self.source_key]
        values = convert_to_tensor(image, track_meta=False)
        if not self._foreground(values).any():
            self._check_size(image)  # one voxel is never above the lowest; that it is one says more
            file = getattr(image, "meta", {}).get("filename_or_obj", "An image")
            low, high = float(values.min()), float(values.max())
            found = f"all of it is {low:g}" if low == high else f"its intensities are {low:g} to {high:g}"
            raise ValueError(
                f"{file} has no foreground: {found}, and foreground are intensities above "
                f"{low if self.threshold is None else self.threshold:g}. Leave the file out, or set "
                "foreground_threshold; lower than all intensities, nothing is cropped."
            )
        cropped = super().__call__(data, lazy)
        self._check_size(cropped[self.source_key])
        return cropped

    def _check_size(self, image: torch.Tensor) -> None:
        shape, meta = image.shape[1:], getattr(image, "meta", {})
        if min(shape[:2]) >= _FEW_VOXELS:
            return
        file = str(meta.get("filename_or_obj", "An image"))
        if min(shape[:2]) >= _MIN_VOXELS:
            self._told(f"has a foreground of less than {_FEW_VOXELS} voxels on a side, which show little", file)
            return
        sizes = f" of {_sizes(image.affine)} mm" if isinstance(image, MetaTensor) else ""
        sizes += f" (the file's are {_sizes(meta['original_affine'])} mm)" if "original_affine" in meta else ""
        raise ValueError(
            f"{file}: its foreground has {' x '.join(map(str, shape))} voxels{sizes}, which show nothing; check its "
            "header, or set spacing or foreground_threshold."
        )


def _sizes(affine: Any) -> str:
    return " x ".join(f"{size:.3g}" for size in torch.as_tensor(affine)[:3, :3].norm(dim=0).tolist())
