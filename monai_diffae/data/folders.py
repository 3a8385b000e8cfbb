# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["find_images", "find_volumes", "split_volumes"]

_VOLUME_EXTENSIONS = (".nii", ".nii.gz")
_IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


def find_images(dataset_dir: str | os.PathLike) -> list[dict[str, str]]:
    """The PNG, JPEG, TIFF and WebP files of a folder and its subfolders as a MONAI data list.

    Returns:
        ``[{"image": path}, ...]``, sorted by path.

    Raises:
        ValueError: if there is no such folder, no picture in it, or two whose names differ in the extension only.
    """
    files = sorted(p for p in Path(dataset_dir).rglob("*") if p.suffix.lower() in _IMAGE_EXTENSIONS)
    if not files:
        raise ValueError(
            f"No pictures ({', '.join(_IMAGE_EXTENSIONS)}) in dataset_dir {os.fspath(dataset_dir)!r}; give a folder "
            "that holds some."
        )
    _check_distinct(files, _IMAGE_EXTENSIONS)
    return [{"image": str(file)} for file in files]


def _check_distinct(files: list[Path], extensions: tuple[str, ...]) -> None:
    """Results are named after their source without its extension, and one image twice is no data set to split."""
    seen: dict[str, Path] = {}
    for file in files:
        extension = max((e for e in extensions if file.name.lower().endswith(e)), key=len)
        other = seen.setdefault(str(file)[: -len(extension)], file)
        if other != file:
            raise ValueError(f"{other} and {file.name} differ in the extension only; rename or remove one of them.")


def find_volumes(dataset_dir: str | os.PathLike, masks: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """The NIfTI files of a folder as a MONAI data list.

    Args:
        dataset_dir: searched with its subfolders; where it has a folder ``images``, that one is searched.
        masks: from a key to a folder beside ``images``, e.g. ``{"lesion_mask": "lesions"}``: a file there of the same
            name as the image is added under the key.

    Returns:
        ``[{"image": path, ...}, ...]``, sorted by path; masks only where there are some.

    Raises:
        ValueError: if there is no such folder, no NIfTI file in it, or two whose names differ in the extension only.
    """
    root = Path(dataset_dir)
    images = root / "images" if (root / "images").is_dir() else root
    files = sorted(p for p in images.rglob("*") if p.name.endswith(_VOLUME_EXTENSIONS))
    if not files:
        raise ValueError(
            f"No NIfTI files (.nii, .nii.gz) in dataset_dir {os.fspath(dataset_dir)!r}; give a folder that holds some."
        )
    _check_distinct(files, _VOLUME_EXTENSIONS)
    data = []
    for file in files:
        found = {key: root / folder / file.relative_to(images) for key, folder in (masks or {}).items()}
        data.append({"image": str(file)} | {key: str(mask) for key, mask in found.items() if mask.is_file()})
    return data


def split_volumes(data: list[dict[str, str]], fraction: float) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Split a data list into training and validation: the last ``fraction`` of the files, at least one, validate.

    Raises:
        ValueError: for a fraction outside (0, 1), or fewer than two volumes.
    """
    if not 0 < fraction < 1 or len(data) < 2:
        raise ValueError(
            f"Expected a fraction in (0, 1) and two volumes or more to split into training and validation, "
            f"got {fraction} and {len(data)} volumes."
        )
    count = min(max(1, round(fraction * len(data))), len(data) - 1)
    return data[:-count], data[-count:]
