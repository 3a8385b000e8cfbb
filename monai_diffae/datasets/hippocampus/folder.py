# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import os
from pathlib import Path

from monai.apps import DecathlonDataset

from monai_diffae.datasets.hippocampus.subject_lists import SPLITS, listed_subjects, subject_of
from monai_diffae.datasets.medical_folders import find_data_set, holds_data_set

__all__ = ["find_hippocampus", "holds_hippocampus"]

logger = logging.getLogger(__name__)
_TASK = "Task04_Hippocampus"
_SIGN = "imagesTr/hippocampus_*.nii.gz"


def find_hippocampus(
    dataset_dir: str | os.PathLike, split: str = "train", download: bool = False
) -> list[dict[str, str]]:
    """The volumes with masks of one side of the committed split, as a MONAI data list.

    Args:
        dataset_dir: holds ``Task04_Hippocampus/imagesTr`` and ``labelsTr``, or is that folder ``Task04_Hippocampus``.
        split: ``train``, ``val`` or ``test``. Subjects that no list names (16 in MONAI's archive) are ``test``.
        download: fetch the data set by MONAI's ``DecathlonDataset`` if it is not there.

    Returns:
        ``[{"image": path, "mask": path, "subject": number}, ...]``, sorted by path; of a subject usually two, its
        sides. Volumes without a mask are left out, as are listed subjects that are not there; either is logged.

    Raises:
        FileNotFoundError: if there is no such folder, and it was not or could not be downloaded.
        ValueError: for another split, and if the folder holds no volume of it.
    """
    wanted = listed_subjects(split)
    root = find_data_set(dataset_dir, _TASK, _SIGN, _download if download else None, f"{_TASK}.tar")
    others = frozenset().union(*(listed_subjects(name) for name in SPLITS if name != split))
    items = []
    for image in sorted((root / "imagesTr").glob("hippocampus_*.nii.gz")):  # not macOS's ._hippocampus_*
        subject, mask = subject_of(image), root / "labelsTr" / image.name
        if subject in wanted or (split == "test" and subject not in others):
            if mask.exists():
                items.append({"image": str(image), "mask": str(mask), "subject": str(subject)})
            else:
                logger.warning(f"{image} is left out: there is no mask {mask}.")
    if not items:
        raise ValueError(f"{root} holds no volume of split {split!r} with a mask.")
    if missing := len(wanted - {int(item["subject"]) for item in items}):
        logger.warning(f"{missing} of the {len(wanted)} subjects of split {split!r} are not in {root}.")
    return items


def holds_hippocampus(dataset_dir: str | os.PathLike) -> bool:
    """Whether :func:`find_hippocampus` finds the data set there."""
    return holds_data_set(dataset_dir, _TASK, _SIGN)


def _download(root: Path) -> None:
    DecathlonDataset(root, task=_TASK, section="training", download=True, cache_rate=0.0)
