# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import MapTransform

from monai_diffae.support.finite import check_finite

__all__ = ["CheckFinited"]


class CheckFinited(MapTransform):
    """Refuses results that are not finite before they are written, by the file that they were computed from.

    Args:
        keys: of the results, tensors; of MetaTensors the file is named.
        allow_missing_keys: do nothing for a key that an item lacks.

    Raises:
        ValueError: when called, for one that is not finite.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            check_finite(d[key], str(key), str(getattr(d[key], "meta", {}).get("filename_or_obj", "An image")))
        return d
