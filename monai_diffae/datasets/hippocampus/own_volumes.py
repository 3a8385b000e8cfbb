# SPDX-License-Identifier: Apache-2.0
"""What a bundle of the hippocampi works on: the data set in its split, or a folder of somebody's own volumes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_diffae.data import find_volumes, split_volumes
from monai_diffae.datasets.hippocampus.folder import find_hippocampus, holds_hippocampus
from monai_diffae.datasets.hippocampus.subject_lists import listed_subjects

__all__ = ["find_hippocampus_or_volumes", "split_hippocampus_or_volumes"]


def find_hippocampus_or_volumes(
    dataset_dir: str | os.PathLike,
    split: str = "train",
    download: bool | str = False,
    masks: Mapping[str, str] | None = None,
    data_list: str | os.PathLike | None = None,
    *search: Any,
    **named: Any,
) -> list[dict[str, str]]:
    """Volumes of the data set if ``dataset_dir`` holds it or holds nothing, otherwise all volumes that it holds.

    Args:
        dataset_dir: see :func:`find_hippocampus`.
        split: of the data set; a folder of other volumes has none.
        download: see :func:`find_hippocampus`; the word ``true`` of a command line counts.
        masks: of other volumes, see :func:`~monai_diffae.data.find_volumes`; of the data set each of its keys is given
            the mask of both parts, whatever the folder.
        data_list: a list of volumes in place of both, see :func:`~monai_diffae.data.find_volumes`.
        search: and ``named``, its further arguments, for other volumes.

    Returns:
        A MONAI data list with ``subject``.

    Raises:
        FileNotFoundError: if there is neither.
        ValueError: as of the two functions.
    """
    folder, wanted = Path(dataset_dir), str(download).lower() == "true"
    holds_others = folder.is_dir() and any(folder.iterdir()) and not holds_hippocampus(folder)
    if data_list is not None or (holds_others and not wanted):
        return find_volumes(dataset_dir, masks, data_list, *search, **named)
    items = find_hippocampus(dataset_dir, split, wanted)
    return [{"image": i["image"], "subject": i["subject"], **dict.fromkeys(masks or (), i["mask"])} for i in items]


def split_hippocampus_or_volumes(
    data: Sequence[dict[str, Any]], dataset_dir: str | os.PathLike, val_fraction: float, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training and validation volumes: the committed lists of subjects, or a draw of other volumes.

    Args:
        data: as of :func:`find_hippocampus_or_volumes`, for ``train``.
        dataset_dir: that they were found in.
        val_fraction: of other volumes, see :func:`~monai_diffae.data.split_volumes`.
        seed: of the draw of other volumes.
    """
    train = {str(subject) for subject in listed_subjects("train")}
    of_the_set = all(Path(item["image"]).name.startswith("hippocampus_") and item["subject"] in train for item in data)
    if of_the_set and holds_hippocampus(dataset_dir):
        return list(data), find_hippocampus_or_volumes(dataset_dir, "val")
    return split_volumes(list(data), val_fraction, seed)
