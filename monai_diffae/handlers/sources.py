# SPDX-License-Identifier: Apache-2.0
"""Where an item of an evaluator's batch came from, and how results of it are named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from monai.data import MetaTensor

__all__ = ["following_images", "result_stem", "source_file", "source_stem"]


_EXTENSIONS = (".nii.gz", ".nii", ".dcm", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")


def source_file(item: Mapping, data_root_dir: str | os.PathLike = "", key: str = "image") -> str:
    """File that ``item[key]`` was read from; relative to ``data_root_dir`` if it lies in there."""
    image = item[key]
    if not isinstance(image, MetaTensor) or "filename_or_obj" not in image.meta:
        raise ValueError(
            f"The item's {key!r} must be a MetaTensor with the file name that MONAI's LoadImaged gives it."
        )
    path = Path(os.path.abspath(str(image.meta["filename_or_obj"])))  # links are not followed
    root = Path(os.path.abspath(data_root_dir))
    if os.fspath(data_root_dir) and root in path.parents:
        return path.relative_to(root).as_posix()
    return path.as_posix()


def source_stem(file: str) -> str:
    """``images/a.nii.gz`` to ``images/a``, an absolute path to its file name's stem; DICOM's ``1.2.3`` stays."""
    path = Path(file)
    name = path.name
    for extension in _EXTENSIONS:
        if name.lower().endswith(extension):
            name = name[: -len(extension)]
            break
    return name if path.is_absolute() else (path.parent / name).as_posix()


def following_images(item: Mapping) -> list:
    """The images that ``item["image"]`` is joined with (:class:`~monai_diffae.data.ImageChains`), if any."""
    images = item.get("image_to", [])
    return list(images) if isinstance(images, (list, tuple)) else [images]


def result_stem(item: Mapping, data_root_dir: str | os.PathLike = "") -> str:
    """Stem of the files of an item's results: its source's, and ``<stem>_to_<last stem>`` where images are joined.

    The last stem is seen from the folder of the first: ``images/a_to_b``, and ``sub-1/T1_to_sub-2_T1``.
    """
    stem = source_stem(source_file(item, data_root_dir))
    images = following_images(item)
    if not images:
        return stem
    last = source_stem(source_file({"image": images[-1]}, data_root_dir))
    parts = PurePosixPath(os.path.relpath(last, os.path.dirname(stem) or ".")).parts
    return f"{stem}_to_{'_'.join(part for part in parts if part != '..')}"
