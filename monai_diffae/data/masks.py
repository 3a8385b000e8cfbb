# SPDX-License-Identifier: Apache-2.0
"""Masks that lie among images, told by the usual names of folders and files, so that they are not taken for images."""

from __future__ import annotations

import bisect
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
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
_WORD = r"(?:seg|segmentation|mask|label|labelmap|dseg|probseg|roi|gt|annotation|contour)s?"
_MASK_OF = re.compile(rf"(?P<image>.+?)[-_. ]+{_WORD}", re.IGNORECASE)
# Of volumes alone: pictures may well show a mask or a label.
_MASK_BEFORE = re.compile(r"(?:segmentation|seg|mask|label)s?[-_. ]*(?P<image>.*)", re.IGNORECASE)
_FREESURFER = re.compile(r"(aseg|aparc|wmparc|wm|filled|(lh\.|rh\.)?ribbon)([.+].*)?", re.IGNORECASE)


def is_image_folder(name: str) -> bool:
    """Whether a folder is named as one of images: ``images``, ``imagesTr``, ``imagesTs`` and the like."""
    return _IMAGES.fullmatch(name) is not None


def image_folders(folder: Path) -> list[Path]:
    """Its subfolders that are named as those of images."""
    return sorted(path for path in folder.iterdir() if is_image_folder(path.name) and path.is_dir())


def without_masks(files: Sequence[Path], root: Path, passed: PassedOver, volumes: bool = True) -> list[Path]:
    """The files that are not told to be masks.

    Masks are what lies in a folder named like ``labelsTr``, ``masks`` or ``segmentations`` beside one named like
    ``imagesTr``; files named like ``a_seg``, ``a-mask`` or ``a.label`` beside another whose name is ``a`` or begins
    with it, or which it begins with; and BIDS' ``sub-1_..._mask``, ``_dseg`` and ``_probseg`` beside images of BIDS
    names. Of volumes also ``segmentation`` or ``label`` beside others, ``segmentation-0`` beside ``volume-0``, and
    FreeSurfer's ``aseg``, ``aparc+aseg``, ``ribbon`` and the like.

    Args:
        files: below ``root``, sorted.
        passed: counts what is left out.
        volumes: else they are pictures.
    """
    return _by_name(_by_folder(files, root, passed), passed, volumes)


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


def _by_name(files: Sequence[Path], passed: PassedOver, volumes: bool) -> list[Path]:
    stems = {file: without_extension(file.name) for file in files}
    masks = {file for file in files if _may_be_mask(stems[file], volumes)}
    others: dict[Path, list[str]] = defaultdict(list)
    for file in files:
        if file not in masks:
            others[file.parent].append(stems[file])
    for names in others.values():
        names.sort()
    ends = {folder: {end for name in names for end in _ends(name)} for folder, names in others.items()}
    bids = any(name.startswith("sub-") for names in others.values() for name in names)
    kept = []
    for file in files:
        stem, names = stems[file], others.get(file.parent, [])
        if file in masks and ((bids and stem.startswith("sub-")) or _is_of(stem, names, ends, file.parent, volumes)):
            passed.add("files named as masks of images beside them (a data_list can name them)", file)
        else:
            kept.append(file)
    return kept


def _may_be_mask(stem: str, volumes: bool) -> bool:
    if _MASK_OF.fullmatch(stem):
        return True
    return volumes and bool(_MASK_BEFORE.fullmatch(stem) or _FREESURFER.fullmatch(stem))


def _is_of(stem: str, names: Sequence[str], ends: Mapping[Path, Collection[str]], folder: Path, volumes: bool) -> bool:
    """Whether one of the other names of a folder, sorted, is that of a mask's image."""
    if volumes and names and (_FREESURFER.fullmatch(stem) or stem.lower().endswith(".seg")):  # Slicer's
        return True
    if match := _MASK_OF.fullmatch(stem):
        image = match["image"]
        place = bisect.bisect_left(names, image)
        if place < len(names) and names[place].startswith(image):
            return True
        for separator in re.finditer("[-_. ]", image):  # T1_brain_mask beside T1
            before = image[: separator.start()]
            place = bisect.bisect_left(names, before)
            if before and place < len(names) and names[place] == before:
                return True
    if volumes and (match := _MASK_BEFORE.fullmatch(stem)):
        return bool(names) if not match["image"] else match["image"] in ends.get(folder, ())
    return False


def _ends(name: str) -> list[str]:
    """A name, what is behind each of its separators, and the digits at its end: that by which files belong together."""
    digits = re.search(r"[^0-9]([0-9]+)$", name)
    return [name, *(name[m.end() :] for m in re.finditer("[-_. ]+", name)), *([digits[1]] if digits else [])]
