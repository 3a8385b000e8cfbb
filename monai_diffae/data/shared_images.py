# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["warn_of_shared_images"]


def warn_of_shared_images(data: Sequence[Mapping[str, Any]], train_data: Sequence[Mapping[str, Any]]) -> None:
    """Warn if files of a held-out data list are in that of the training, too: what is measured on them is memory.

    Args:
        data: items with ``image``, a path.
        train_data: the same.
    """
    held_out, training = ({os.path.realpath(item["image"]) for item in items} for items in (data, train_data))
    if shared := sorted(held_out & training):
        warnings.warn(
            f"{len(shared)} of the {len(held_out)} held-out images are training images as well, {shared[0]} for one: "
            "what is measured on them is too good. Hold out others (dataset_dir), or give none of the training "
            "(train_dataset_dir).",
            stacklevel=2,
        )
