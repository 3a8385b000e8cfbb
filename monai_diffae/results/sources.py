# SPDX-License-Identifier: Apache-2.0
"""Where an item of an evaluator's batch came from, and how results of it are named."""

from __future__ import annotations

import os
from collections.abc import Mapping

from monai.data import MetaTensor

from monai_diffae.support.names import joined_stem, named_from, source_stem

__all__ = ["following_images", "result_stem", "source_file"]


def source_file(item: Mapping, data_root_dir: str | os.PathLike = "", key: str = "image") -> str:
    """File that ``item[key]`` was read from; relative to ``data_root_dir`` if it lies in there."""
    image = item[key]
    if not isinstance(image, MetaTensor) or "filename_or_obj" not in image.meta:
        raise ValueError(
            f"The item's {key!r} must be a MetaTensor with the file name that MONAI's LoadImaged gives it."
        )
    return named_from(str(image.meta["filename_or_obj"]), data_root_dir)


def following_images(item: Mapping) -> list:
    """The images that ``item["image"]`` is joined with (:class:`~monai_diffae.data.ImageChains`), if any."""
    images = item.get("image_to", [])
    return list(images) if isinstance(images, (list, tuple)) else [images]


def result_stem(item: Mapping, data_root_dir: str | os.PathLike = "") -> str:
    """Stem of the files of an item's results: its source's, or where images are joined that of the first and the last
    (:func:`~monai_diffae.support.names.joined_stem`)."""
    stem = source_stem(source_file(item, data_root_dir))
    images = following_images(item)
    return joined_stem(stem, source_stem(source_file({"image": images[-1]}, data_root_dir))) if images else stem
