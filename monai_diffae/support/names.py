# SPDX-License-Identifier: Apache-2.0
"""How results are named after the files that they come from."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

__all__ = ["NIBABEL_EXTENSIONS", "joined_stem", "named_from", "source_stem", "without_extension"]

# Of all images that are read; the longer before those that they end with.
NIBABEL_EXTENSIONS = (".nii.gz", ".nii", ".img.gz", ".img", ".hdr.gz", ".hdr", ".mgh.gz", ".mgh", ".mgz")
_VOLUMES = (*NIBABEL_EXTENSIONS, ".mha", ".mhd", ".nrrd", ".nhdr", ".npy", ".npz", ".dcm", ".dicom", ".ima")
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif")


def named_from(file: str | os.PathLike, root: str | os.PathLike = "") -> str:
    """The path of a file, relative to ``root`` if it lies in there, else absolute. Links are not followed."""
    path = Path(os.path.abspath(file))
    folder = Path(os.path.abspath(root))
    if os.fspath(root) and folder in path.parents:
        return path.relative_to(folder).as_posix()
    return path.as_posix()


def source_stem(file: str) -> str:
    """``images/a.nii.gz`` to ``images/a``, an absolute path to its file name's stem; DICOM's ``1.2.3`` stays."""
    path = Path(file)
    name = without_extension(path.name)
    return name if path.is_absolute() else (path.parent / name).as_posix()


def without_extension(name: str) -> str:
    """The name of an image without the extension of its format, in whatever case; other names stay."""
    for extension in (*_VOLUMES, *_PICTURES):
        if name.lower().endswith(extension) and len(name) > len(extension):
            return name[: -len(extension)]
    return name


def joined_stem(first: str, last: str) -> str:
    """Stem of what joins two files, from their own stems: ``<first>_to_<last>``.

    The last is seen from the folder of the first: ``images/a_to_b``, and ``sub-1/T1_to_sub-2_T1``. Different files can
    get one name (``sub/c`` and ``sub_c``); :func:`~monai_diffae.data.find_chains` refuses such in one run.
    """
    parts = PurePosixPath(os.path.relpath(last, os.path.dirname(first) or ".")).parts
    return f"{first}_to_{'_'.join(part for part in parts if part != '..')}"
