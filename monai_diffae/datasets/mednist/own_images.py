# SPDX-License-Identifier: Apache-2.0
"""What a bundle of MedNIST works on: the data set in its split, or a folder of somebody's own pictures."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_diffae.data import find_images, split_volumes
from monai_diffae.datasets.mednist.folder import find_mednist, holds_mednist
from monai_diffae.datasets.mednist.name_lists import listed_names

__all__ = ["find_mednist_or_images", "split_mednist_or_images"]

logger = logging.getLogger(__name__)


def find_mednist_or_images(
    dataset_dir: str | os.PathLike,
    split: str = "train",
    download: bool | str = False,
    data_list: str | os.PathLike | None = None,
    *search: Any,
    **named: Any,
) -> list[dict[str, str]]:
    """Images of MedNIST if ``dataset_dir`` holds it or holds nothing, otherwise all pictures that it holds.

    Args:
        dataset_dir: see :func:`find_mednist`.
        split: of MedNIST; a folder of other pictures has none.
        download: see :func:`find_mednist`; the word ``true`` of a command line counts.
        data_list: a list of pictures in place of both, see :func:`~monai_diffae.data.find_images`.
        search: and ``named``, its further arguments, for other pictures.

    Returns:
        A MONAI data list.

    Raises:
        FileNotFoundError: if there is neither.
        ValueError: as of the two functions.
    """
    folder = Path(dataset_dir)
    holds_others = folder.is_dir() and any(folder.iterdir()) and not holds_mednist(folder)
    if data_list is not None or (holds_others and str(download).lower() != "true"):
        if data_list is None:
            logger.info(f"{folder} holds no MedNIST: all pictures in it are taken.")
        return find_images(dataset_dir, data_list, *search, **named)
    return find_mednist(dataset_dir, split, str(download).lower() == "true")


def split_mednist_or_images(
    data: Sequence[dict[str, Any]], dataset_dir: str | os.PathLike, val_fraction: float, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training and validation images: the committed lists of MedNIST, or a draw of other pictures by
    :func:`~monai_diffae.data.split_volumes`.

    Args:
        data: as of :func:`find_mednist_or_images`, for ``train``.
        dataset_dir: that they were found in.
        val_fraction, seed: of the draw.
    """
    if all("/".join(Path(item["image"]).parts[-2:]) in listed_names("train") for item in data):
        return list(data), find_mednist(dataset_dir, "val")
    return split_volumes(list(data), val_fraction, seed)
