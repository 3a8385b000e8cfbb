# SPDX-License-Identifier: Apache-2.0
"""Where an item of an evaluator's batch came from, and how results of it are named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from monai.data import MetaTensor

__all__ = ["source_file", "source_stem"]


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
    """``images/a.nii.gz`` to ``images/a``, an absolute path to its file name's stem."""
    path = Path(file)
    name = path.name
    for extension in (".nii.gz", path.suffix):
        if extension and name.endswith(extension):
            name = name[: -len(extension)]
            break
    return name if path.is_absolute() else (path.parent / name).as_posix()
