# SPDX-License-Identifier: Apache-2.0
"""Masks that lie among images, told by the usual names of folders and files, so that they are not taken for images."""

from __future__ import annotations

import bisect
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from monai_diffae.support.names import without_extension
from monai_diffae.support.telling import PassedOver

__all__ = ["image_folders", "is_image_folder", "without_masks"]

_PART = r"([-_ ]?(tr|ts|te|va|val|train|training|test|testing|validation))?"
_IMAGES = re.compile(rf"(images?|imgs?){_PART}", re.IGNORECASE)  # nnU-Net and Decathlon: imagesTr, imagesTs
_MASKS = re.compile(
    rf"(labels?|masks?|segs?|segmentations?|annotations?|ground[-_ ]?truths?|gts?|contours?|rois?){_PART}",
    re.IGNORECASE,
)
_MASK_OF = re.compile(
    r"(?P<image>.+?)[-_. ]+(seg|segmentation|mask|label|labels|labelmap|dseg|probseg|roi|gt|annotation|contour)s?",
    re.IGNORECASE,
)


def is_image_folder(name: str) -> bool:
    """Whether a folder is named as one of images: ``images``, ``imagesTr``, ``imagesTs`` and the like."""
    return _IMAGES.fullmatch(name) is not None


def image_folders(folder: Path) -> list[Path]:
    """Its subfolders that are named as those of images."""
    return sorted(path for path in folder.iterdir() if is_image_folder(path.name) and path.is_dir())


def without_masks(files: Sequence[Path], root: Path, passed: PassedOver) -> list[Path]:
    """The files that are not told to be masks.

    Masks are what lies in a folder named like ``labelsTr``, ``masks`` or ``segmentations`` beside one named like
    ``imagesTr``; files named like ``a_seg``, ``a-mask`` or ``a.label`` beside another whose name begins with ``a``; and
    BIDS' ``sub-1_..._mask``, ``_dseg`` and ``_probseg`` beside other images of BIDS names.

    Args:
        files: below ``root``, sorted.
        passed: counts what is left out.
    """
    return _by_name(_by_folder(files, root, passed), root, passed)


def _by_folder(files: Sequence[Path], root: Path, passed: PassedOver) -> list[Path]:
    parts = [file.relative_to(root).parts[:-1] for file in files]
    beside = {folders[:depth] for folders in parts for depth, name in enumerate(folders) if is_image_folder(name)}
    kept, seen = [], set()
    for file, folders in zip(files, parts):
        depth = next((d for d, name in enumerate(folders) if _MASKS.fullmatch(name) and folders[:d] in beside), None)
        if depth is None:
            kept.append(file)
        elif (folder := folders[: depth + 1]) not in seen:
            seen.add(folder)
            passed.add("folders of masks beside images", root.joinpath(*folder))
    return kept


def _by_name(files: Sequence[Path], root: Path, passed: PassedOver) -> list[Path]:
    masks = {file: match for file in files if (match := _MASK_OF.fullmatch(without_extension(file.name)))}
    others: dict[Path, list[str]] = defaultdict(list)
    for file in files:
        if file not in masks:
            others[file.parent].append(file.name)
    for names in others.values():
        names.sort()
    bids = any(name.startswith("sub-") for names in others.values() for name in names)
    kept = []
    for file in files:
        if file in masks:
            image, names = masks[file]["image"], others[file.parent]
            place = bisect.bisect_left(names, image)
            if (place < len(names) and names[place].startswith(image)) or (bids and file.name.startswith("sub-")):
                passed.add("files named as masks of images beside them (a data_list can name them)", file)
                continue
        kept.append(file)
    return kept
