# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_diffae.data.data_lists import grouped_by_subject, read_data_list, with_subjects
from monai_diffae.data.dicom import dicom_sources, is_dicom

__all__ = ["find_images", "find_volumes"]

_VOLUME_EXTENSIONS = (".nii", ".nii.gz", ".png", ".tif", ".tiff")
_DICOM_EXTENSIONS = (".dcm", ".ima")  # usual ones, among others and none
_OTHER_EXTENSIONS = (".csv", ".json", ".txt", ".md", ".pt")  # not looked into
_IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


def find_images(
    dataset_dir: str | os.PathLike,
    data_list: str | os.PathLike | None = None,
    data_list_key: str = "training",
    subject_pattern: str | None = None,
) -> list[dict[str, str]]:
    """The PNG, JPEG, TIFF and WebP files of a folder, or those that a list names, as a MONAI data list.

    Args:
        dataset_dir: searched with its subfolders.
        data_list: a MONAI data list (JSON), or a CSV with a column ``image`` or ``file``, instead of the search. Paths
            are relative to it, or else to ``dataset_dir``. Other entries are kept if all items have them, as batches
            need.
        data_list_key: of the list in a JSON file.
        subject_pattern: regular expression that finds the subject in a path below ``dataset_dir``: its first group, or
            all that it matches.

    Returns:
        ``[{"image": path}, ...]``, sorted by path, or as listed. If entries of a list have a ``subject``, all items do
        (their own path where the list says none), and each subject's are together; also by ``subject_pattern``.

    Raises:
        ValueError: if there is no such folder, no picture in it, another kind of file in the list, two whose names
            differ in the extension only, an image without a match of ``subject_pattern``, and for what
            :func:`~monai_diffae.data.data_lists.read_data_list` refuses.
    """
    if data_list is not None:
        items = _shared_entries(read_data_list(data_list, Path(dataset_dir), data_list_key), "subject")
        files = [Path(item["image"]) for item in items]
        other = next((file for file in files if file.suffix.lower() not in _IMAGE_EXTENSIONS), None)
        if other is not None:
            raise ValueError(f"{data_list} names {other}, which is no picture ({', '.join(_IMAGE_EXTENSIONS)}).")
    else:
        files = sorted(p for p in Path(dataset_dir).rglob("*") if p.suffix.lower() in _IMAGE_EXTENSIONS)
        items = [{"image": str(file)} for file in files]
    if not files:
        raise ValueError(
            f"No pictures ({', '.join(_IMAGE_EXTENSIONS)}) in dataset_dir {os.fspath(dataset_dir)!r}; give a folder "
            "that holds some."
        )
    _check_distinct(files, _IMAGE_EXTENSIONS)
    if subject_pattern is not None:
        return with_subjects(items, Path(dataset_dir), subject_pattern)
    if any(item.get("subject") for item in items):
        return grouped_by_subject([{**item, "subject": str(item.get("subject") or item["image"])} for item in items])
    return [{key: value for key, value in item.items() if key != "subject"} for item in items]


def _shared_entries(items: Sequence[Mapping[str, Any]], *others: str) -> list[dict[str, Any]]:
    """The items with what all of them have, and with ``others``."""
    shared = set.intersection(*map(set, items)) | set(others)
    return [{key: value for key, value in item.items() if key in shared} for item in items]


def _check_distinct(files: list[Path], extensions: tuple[str, ...]) -> None:
    """Results are named after their source without its extension, and one image twice is no data set to split."""
    seen: dict[str, Path] = {}
    for file in files:
        extension = max((e for e in extensions if file.name.lower().endswith(e)), key=len, default="")
        other = seen.setdefault(str(file)[: len(str(file)) - len(extension)], file)
        if other != file:
            raise ValueError(f"{other} and {file.name} differ in the extension only; rename or remove one of them.")


def find_volumes(
    dataset_dir: str | os.PathLike,
    masks: Mapping[str, str] | None = None,
    data_list: str | os.PathLike | None = None,
    data_list_key: str = "training",
    subject_pattern: str | None = None,
) -> list[dict[str, str]]:
    """The volumes of a folder, or those that a list names, as a MONAI data list.

    NIfTI (.nii, .nii.gz), PNG and TIFF files are told by their extension, DICOM files by what is in them: a series of
    several files in one folder is one volume, under the folder's path. Hidden files are left out.

    Args:
        dataset_dir: searched with its subfolders; where it has a folder ``images``, that one is searched.
        masks: from a key to a folder beside ``images``, e.g. ``{"lesion_mask": "lesions"}``: a file there of the same
            name as the image is added under the key.
        data_list: a MONAI data list (JSON), or a CSV with a column ``image`` or ``file``, instead of the search. Paths
            of images and of ``masks`` are relative to it, or else to ``dataset_dir``. Other entries are kept if all
            items have them, as batches need.
        data_list_key: of the list in a JSON file.
        subject_pattern: regular expression that finds the subject in a path below ``dataset_dir``: its first group, or
            all that it matches. By default the DICOM PatientID, the BIDS label (``sub-01``), the first folder below
            what all files share, or the file's name, whichever there is first.

    Returns:
        ``[{"image": path, "subject": name, ...}, ...]``, sorted by path, each subject's together; masks only where
        there are some.

    Raises:
        ValueError: if there is no such folder, no image in it, two whose names differ in the extension only, an image
            without a match of ``subject_pattern``, and for what :func:`~monai_diffae.data.data_lists.read_data_list`
            refuses.
    """
    root = Path(dataset_dir)
    images = root / "images" if (root / "images").is_dir() else root
    if data_list is not None:
        items = read_data_list(data_list, root, data_list_key, tuple(masks or ()))
        items = _shared_entries(items, "subject", *(masks or ()))
    else:
        items = [{"image": str(path)} | ({"subject": name} if name else {}) for path, name in _search(images)]
    if not items:
        raise ValueError(
            f"No NIfTI files (.nii, .nii.gz), DICOM, PNG or TIFF files in dataset_dir {os.fspath(dataset_dir)!r}; give "
            "a folder that holds some."
        )
    _check_distinct([Path(item["image"]) for item in items], (*_VOLUME_EXTENSIONS, *_DICOM_EXTENSIONS))
    for key, folder in (masks or {}).items():
        for item in items:
            path = Path(item["image"])
            mask = root / folder / path.relative_to(images) if images in path.parents else None
            if mask is not None and mask.is_file():
                item.setdefault(key, str(mask))
    return with_subjects(items, root, subject_pattern)


def _search(folder: Path) -> list[tuple[Path, str]]:
    """Images and, if their files tell it, their subjects."""
    found, dicom = [], []
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        name = path.name.lower()
        if name.endswith(_VOLUME_EXTENSIONS):
            found.append((path, ""))
        elif not name.endswith(_OTHER_EXTENSIONS) and is_dicom(path):
            dicom.append(path)
    return sorted(found + dicom_sources(dicom))
