# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, ResampleToMatch

from monai_diffae.data.formats import ARRAYS, format_of

__all__ = ["MatchGridd"]

_TOLERANCE = 1e-3  # voxels, that one grid may lie beside another and count as the same


class MatchGridd(MapTransform):
    """Brings masks onto the grid of the image they are about, by the nearest voxel, as MONAI's ResampleToMatch.

    A mask of a smaller field of view is empty outside it. Masks on the image's grid stay as they are, and so do those
    of its shape in files that know no places (NumPy's).

    Args:
        keys: of the masks, MetaTensors ``(1, X, Y, Z)``; an item may lack some.
        key_dst: of the image.

    Raises:
        ValueError: when called, by the names of both files, for a mask that does not overlap the image, or has no
            places and another shape.
    """

    def __init__(self, keys: KeysCollection, key_dst: str = "image") -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.key_dst = key_dst
        self.resample = ResampleToMatch(mode="nearest", padding_mode="zeros", dtype=torch.float32)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        image = d[self.key_dst]
        for key in self.key_iterator(d):
            d[key] = self._matched(d[key], image, str(key))
        return d

    def _matched(self, mask: MetaTensor, image: MetaTensor, key: str) -> MetaTensor:
        file, image_file = (str(x.meta.get("filename_or_obj", "a tensor")) for x in (mask, image))
        names = f"{file} ({key}) and {image_file}"
        if format_of(file) is ARRAYS and format_of(image_file) is not ARRAYS:
            if mask.shape[1:] != image.shape[1:]:
                raise ValueError(
                    f"{names} have the shapes {list(mask.shape[1:])} and {list(image.shape[1:])}, and {file} does not "
                    "tell where its voxels lie: store it as NIfTI, or on the grid of the image."
                )
            return MetaTensor(mask.as_tensor(), affine=image.affine, meta=mask.meta)
        corners = _corners(mask.shape[1:])
        there = torch.linalg.solve(image.affine.double(), mask.affine.double() @ corners)  # in voxels of the image
        if mask.shape[1:] == image.shape[1:] and float((there - corners).abs().max()) < _TOLERANCE:
            return mask
        size = torch.tensor(image.shape[1:])
        low, high = there[:3].amin(dim=1), there[:3].amax(dim=1)
        if bool((high <= -0.5).any() or (low >= size - 0.5).any()):
            raise ValueError(
                f"{names} do not overlap: in voxels of the image, the mask lies from {_rounded(low)} to "
                f"{_rounded(high)}, and the image has {list(image.shape[1:])}. Is it the mask of another image?"
            )
        return self.resample(mask, image)


def _corners(shape: torch.Size) -> torch.Tensor:
    """Of the outermost voxels, with their full width, ``(4, 8)``."""
    return torch.tensor(list(product(*((-0.5, n - 0.5) for n in shape), (1.0,))), dtype=torch.float64).T


def _rounded(place: torch.Tensor) -> list[float]:
    return np.round(place.numpy(), 1).tolist()
