# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, ScaleIntensityRange
from monai.transforms.utils_pytorch_numpy_unification import percentile
from monai.utils import TraceKeys, convert_to_tensor

__all__ = ["RescaleIntensityd", "rising_pair"]


def rising_pair(name: str, given: Any) -> tuple[float, float]:
    """Two numbers of which the second is larger.

    Raises:
        ValueError: for anything else, by the name of the option.
    """
    is_pair = isinstance(given, Sequence) and len(given) == 2 and all(isinstance(end, Real) for end in given)
    if not is_pair or not given[0] < given[1]:
        raise ValueError(f"{name} must be two numbers in rising order, [low, high], got {given!r}.")
    return given[0], given[1]


class RescaleIntensityd(MapTransform, InvertibleTransform):
    """Scales intensities to [-1, 1], as MONAI's ScaleIntensityRange and ScaleIntensityRangePercentiles, and back again.

    What lies outside is clipped; ``inverse`` clips too, and gives intensities of the source.

    Args:
        keys: of the images.
        percentiles: of each image, that become -1 and 1. For modalities without a unit, such as MR.
        window: or the intensities that become -1 and 1, the same for every image. For modalities with a unit: in
            Hounsfield units for CT, ``[-160, 240]`` for soft tissue, say. Given, it is used.
        allow_missing_keys: do nothing for a key that an item lacks.

    Raises:
        ValueError: for percentiles or a window that are not two numbers in rising order.
    """

    def __init__(
        self,
        keys: KeysCollection,
        percentiles: Sequence[float] = (0.0, 100.0),
        window: Sequence[float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.window = None if window is None else rising_pair("window", window)
        self.percentiles = rising_pair("percentiles", percentiles) if window is None else (0.0, 100.0)
        if self.percentiles[0] < 0 or self.percentiles[1] > 100:
            raise ValueError(f"percentiles must lie in [0, 100], got {percentiles!r}.")

    def _limits(self, image: torch.Tensor) -> tuple[float, float]:
        if self.window is not None:
            return float(self.window[0]), float(self.window[1])
        low, high = (float(percentile(image, q)) for q in self.percentiles)
        return low, high if high > low else low + 1.0  # an image of one value becomes -1

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            image = convert_to_tensor(d[key], track_meta=False)
            low, high = self._limits(image)
            scaled = convert_to_tensor(ScaleIntensityRange(low, high, -1.0, 1.0, clip=True)(image), track_meta=False)
            if isinstance(d[key], MetaTensor):
                scaled = MetaTensor(scaled).copy_meta_from(d[key])
                self.push_transform(scaled, extra_info={"low": low, "high": high})
            d[key] = scaled
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Values in [-1, 1] to intensities; what lies outside is clipped first."""
        d = dict(data)
        for key in self.key_iterator(d):
            limits = self.pop_transform(d[key])[TraceKeys.EXTRA_INFO]
            values = convert_to_tensor(d[key], track_meta=False).clamp(-1, 1)
            intensities = (values + 1) * ((limits["high"] - limits["low"]) / 2) + limits["low"]
            d[key] = MetaTensor(intensities).copy_meta_from(d[key])
        return d
