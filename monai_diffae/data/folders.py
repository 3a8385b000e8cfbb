# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_diffae.data.data_lists import bids_label, grouped_by_subject, read_data_list, with_subjects
from monai_diffae.data.formats import PICTURES, format_of
from monai_diffae.data.masks import image_folders, without_masks
from monai_diffae.data.searching import is_hidden, search_files
from monai_diffae.data.sorting import pictures_among, volumes_among
from monai_diffae.support.names import without_extension
from monai_diffae.support.telling import PassedOver

__all__ = ["find_images", "find_volumes"]


def find_images(
    dataset_dir: str | os.PathLike,
    data_list: str | os.PathLike | None = None,
    data_list_key: str = "training",
    subject_pattern: str | None = None,
    output_dir: str | os.PathLike | None = None,
) -> list[dict[str, str]]:
    """The PNG, JPEG, TIFF, WebP, BMP and GIF files of a folder, or those that a list names, as a MONAI data list.

    What is left out of a folder is said in a line for each reason, with a count and an example; see
    :func:`~monai_diffae.data.searching.search_files` and :func:`~monai_diffae.data.masks.without_masks`.

    Args:
        dataset_dir: searched with its subfolders, also through links.
        data_list: a MONAI data list (JSON), or a CSV with a column ``image`` or ``file``, instead of the search. Paths
            are relative to it, or else to ``dataset_dir``. Other entries are kept if all items have them, as batches
            need.
        data_list_key: of the list in a JSON file.
        subject_pattern: regular expression that finds the subject in a path below ``dataset_dir``: its first group, or
            all that it matches.
        output_dir: of the run; left out of the search.

    Returns:
        ``[{"image": path}, ...]``, sorted by path, or as listed. If entries of a list have a ``subject``, or paths
        below ``dataset_dir`` a label of BIDS (``sub-01``), all items do (their own path where nothing says one), and
        each subject's are together; also by ``subject_pattern``.

    Raises:
        ValueError: if there is no such folder, no picture in it, another kind of file in the list, two whose names
            differ in the extension only, an image without a match of ``subject_pattern``, ``output_dir`` that is
            ``dataset_dir``, and for what :func:`~monai_diffae.data.data_lists.read_data_list` refuses.
    """
    passed = PassedOver()
    if data_list is not None:
        items = _shared_entries(read_data_list(data_list, Path(dataset_dir), data_list_key), "subject")
        files = [Path(item["image"]) for item in items]
        other = next((file for file in files if format_of(file.name) is not PICTURES), None)
        if other is not None:
            raise ValueError(f"{data_list} names {other}, which is no picture ({', '.join(PICTURES.extensions)}).")
    else:
        root = _checked(dataset_dir, output_dir)
        files = without_masks(
            pictures_among(search_files([root], passed, output_dir), passed), root, passed, volumes=False
        )
        items = [{"image": str(file)} for file in files]
    _check_found(items, f"pictures ({', '.join(PICTURES.extensions)})", dataset_dir, passed)
    if subject_pattern is not None:
        return with_subjects(items, Path(dataset_dir), subject_pattern)
    for item in items:
        if label := bids_label(Path(os.path.relpath(item["image"], dataset_dir)).as_posix()):
            item["subject"] = item.get("subject") or label
    if any(item.get("subject") for item in items):
        return grouped_by_subject([{**item, "subject": str(item.get("subject") or item["image"])} for item in items])
    return [{key: value for key, value in item.items() if key != "subject"} for item in items]


def _shared_entries(items: Sequence[Mapping[str, Any]], *others: str) -> list[dict[str, Any]]:
    """The items with what all of them have, and with ``others``."""
    shared = set.intersection(*map(set, items)) | set(others)
    return [{key: value for key, value in item.items() if key in shared} for item in items]


def _checked(dataset_dir: str | os.PathLike, output_dir: str | os.PathLike | None) -> Path:
    if output_dir is not None and os.path.realpath(output_dir) == os.path.realpath(dataset_dir):
        raise ValueError(
            f"output_dir and dataset_dir are both {os.fspath(dataset_dir)!r}: a further run would take the results for "
            "images; choose another output_dir."
        )
    return Path(dataset_dir)


def _check_found(
    items: Sequence[Mapping[str, Any]], kinds: str, dataset_dir: str | os.PathLike, passed: PassedOver
) -> None:
    """Some, of distinct names. Results are named after their source without its extension, and one image twice is no
    data set to split. Says what was passed over."""
    if not items:
        left_out = "".join(f" Left out: {line}." for line in passed.lines())
        raise ValueError(
            f"No {kinds} in dataset_dir {os.fspath(dataset_dir)!r}; give a folder that holds some.{left_out}"
        )
    seen: dict[str, str] = {}
    for item in items:
        image = item["image"]
        other = seen.setdefault(os.path.join(os.path.dirname(image), without_extension(os.path.basename(image))), image)
        if other != image:
            raise ValueError(
                f"{other} and {os.path.basename(image)} differ in the extension only; rename or remove one of them."
            )
    passed.tell(dataset_dir)


def find_volumes(
    dataset_dir: str | os.PathLike,
    masks: Mapping[str, str] | None = None,
    data_list: str | os.PathLike | None = None,
    data_list_key: str = "training",
    subject_pattern: str | None = None,
    output_dir: str | os.PathLike | None = None,
) -> list[dict[str, str]]:
    """The volumes of a folder, or those that a list names, as a MONAI data list.

    NIfTI, MGH, MetaImage, NRRD, NumPy and picture files are told by their extension
    (:mod:`~monai_diffae.data.formats`), DICOM files by what is in them: a stack of slices in one folder is one volume,
    under the folder's path (:func:`~monai_diffae.data.dicom.dicom_sources`). What is left out is said in a line for
    each reason, with a count and an example; see :func:`~monai_diffae.data.searching.search_files` and
    :func:`~monai_diffae.data.masks.without_masks`.

    Args:
        dataset_dir: searched with its subfolders, also through links; where it has folders ``images``, or nnU-Net's
            ``imagesTr`` and ``imagesTs``, those are searched.
        masks: from a key to a folder beside ``images``, e.g. ``{"lesion_mask": "lesions"}``: a file there of the same
            name as the image is added under the key.
        data_list: a MONAI data list (JSON), or a CSV with a column ``image`` or ``file``, instead of the search. Paths
            of images and of ``masks`` are relative to it, or else to ``dataset_dir``. Other entries are kept if all
            items have them, as batches need.
        data_list_key: of the list in a JSON file.
        subject_pattern: regular expression that finds the subject in a path below ``dataset_dir``: its first group, or
            all that it matches. By default the DICOM PatientID, the BIDS label (``sub-01``), the first folder below
            what all files share, or the file's name, whichever there is first.
        output_dir: of the run; left out of the search.

    Returns:
        ``[{"image": path, "subject": name, ...}, ...]``, sorted by path, each subject's together; masks only where
        there are some.

    Raises:
        ValueError: if there is no such folder, no image in it, two whose names differ in the extension only, an image
            without a match of ``subject_pattern``, and for what :func:`~monai_diffae.data.data_lists.read_data_list`
            refuses.
    """
    passed = PassedOver()
    root = Path(dataset_dir)
    images = (image_folders(root) or [root]) if root.is_dir() else [root]
    if data_list is not None:
        items = read_data_list(data_list, root, data_list_key, tuple(masks or ()))
        for folder in (Path(item["image"]) for item in items if os.path.isdir(item["image"])):
            volumes_among(
                sorted(path for path in folder.iterdir() if path.is_file()), passed
            )  # to say what is left out
        items = _shared_entries(items, "subject", *(masks or ()))
    else:
        _checked(root, output_dir)
        found = sorted(_search(images, root, output_dir, [root / folder for folder in (masks or {}).values()], passed))
        items = [{"image": str(path)} | ({"subject": name} if name else {}) for path, name in found]
    _check_found(items, "NIfTI, DICOM or other volumes, or pictures", dataset_dir, passed)
    for key, folder in (masks or {}).items():
        for item in items:
            path = Path(item["image"])
            below = next((path.relative_to(top) for top in images if top in path.parents), None)
            if below is not None:
                names = (below.name, re.sub(r"_\d{4}(?=\.)", "", below.name))  # nnU-Net: of one mask, several channels
                mask = next((m for m in (root / folder / below.with_name(n) for n in names) if m.is_file()), None)
                item |= {key: str(mask)} if mask is not None and key not in item else {}
    return with_subjects(items, root, subject_pattern)


def _search(
    folders: Sequence[Path],
    root: Path,
    output_dir: str | os.PathLike | None,
    masks: Sequence[Path],
    passed: PassedOver,
) -> list[tuple[Path, str]]:
    """Images and, if their files tell it, their subjects."""
    if list(folders) != [root]:
        own = None if output_dir is None else os.path.realpath(output_dir)
        for path in sorted(root.iterdir()):
            is_image = (path.is_dir() and os.path.realpath(path) != own) or format_of(path.name) is not None
            if is_image and path not in (*folders, *masks) and not is_hidden(path.name):
                passed.add(f"what lies beside the folder {folders[0].name}", path)
    volumes, dicom = volumes_among(search_files(folders, passed, output_dir), passed)
    return [(path, "") for path in without_masks(volumes, root, passed)] + dicom
