# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor

__all__ = ["MaskedChanged"]


class MaskedChanged(MapTransform):
    """How much an edit changes an image inside a mask and outside of it, where it ought to change little.

    Adds ``change_inside`` and ``change_outside``, means of the absolute difference: a number, or ``(N,)`` for a series.
    An empty mask, or none, has no inside (NaN) and the whole image outside; a full one the reverse.

    Args:
        keys: of the difference, one: ``(C, *spatial)``, or ``(N, C, *spatial)`` for a series of N edits.
        mask_key: of the mask ``(1, *spatial)``, above 0.5 inside; an item may lack it.

    Raises:
        ValueError: for more than one key, and for a mask of another size.
    """

    def __init__(self, keys: KeysCollection, mask_key: str) -> None:
        super().__init__(keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys must name one difference, got {self.keys}.")
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        difference = convert_to_tensor(d[self.keys[0]], track_meta=False).abs().float()
        mask = d.get(self.mask_key)
        if mask is None:
            inside = torch.zeros(difference.shape[-2:], dtype=torch.bool, device=difference.device)
        else:
            inside = convert_to_tensor(mask, track_meta=False, device=difference.device)[0] > 0.5
            if difference.shape[-inside.ndim :] != inside.shape:
                raise ValueError(
                    f"The mask {self.mask_key!r} of {list(inside.shape)} does not fit the difference of "
                    f"{list(difference.shape)}."
                )
        for name, where in (("change_inside", inside), ("change_outside", ~inside)):
            values = difference[..., where]  # (C, n) or (N, C, n)
            d[name] = values.mean(dim=(-2, -1)) if bool(where.any()) else values.new_full(values.shape[:-2], math.nan)
        return d
