# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from monai.apps import MedNISTDataset

from monai_diffae.datasets.medical_folders import find_data_set, holds_data_set
from monai_diffae.datasets.mednist.name_lists import CLASSES, SPLITS, listed_names

__all__ = ["find_mednist", "holds_mednist"]

logger = logging.getLogger(__name__)


def find_mednist(dataset_dir: str | os.PathLike, split: str = "train", download: bool = False) -> list[dict[str, str]]:
    """The images of one side of the committed split, as a MONAI data list.

    Args:
        dataset_dir: holds ``MedNIST/<class>/<number>.jpeg``, or is that folder ``MedNIST``.
        split: ``train``, ``val`` or ``test``. Images that no list names (3,000 of MONAI's archive) are ``test``, but
            for those that are copies to the byte of an image of ``train`` or ``val``.
        download: fetch the data set by MONAI's ``MedNISTDataset`` if it is not there.

    Returns:
        ``[{"image": path}, ...]``, sorted by path. Listed images that are not there are left out, which is logged.

    Raises:
        FileNotFoundError: if there is no such folder, and it was not or could not be downloaded.
        ValueError: for another split, and if the folder holds no image of it.
    """
    wanted = listed_names(split)
    root = find_data_set(dataset_dir, "MedNIST", CLASSES[0], _download if download else None, "MedNIST.tar.gz")
    present = {f"{name}/{path.name}" for name in CLASSES for path in (root / name).glob("*.jpeg")}
    found = wanted & present
    if split == "test":
        found |= _unlisted(root, present)
    if not found:
        raise ValueError(f"{root} holds no image of split {split!r}; expected {len(wanted)}.")
    if missing := len(wanted - present):
        logger.warning(f"{missing} of the {len(wanted)} images of split {split!r} are not in {root}.")
    return [{"image": str(root / name)} for name in sorted(found)]


def holds_mednist(dataset_dir: str | os.PathLike) -> bool:
    """Whether :func:`find_mednist` finds the data set there."""
    return holds_data_set(dataset_dir, "MedNIST", CLASSES[0])


def _download(root: Path) -> None:
    MedNISTDataset(root, section="test", download=True, cache_rate=0.0)


def _unlisted(root: Path, present: set[str]) -> set[str]:
    unlisted = present.difference(*map(listed_names, SPLITS))
    if not unlisted:
        return unlisted
    seen = {_digest(root / name) for name in present & (listed_names("train") | listed_names("val"))}
    return {name for name in unlisted if _digest(root / name) not in seen}


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
