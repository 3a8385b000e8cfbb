# SPDX-License-Identifier: Apache-2.0
"""Lists of images with their subjects."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data import load_decathlon_datalist

from monai_diffae.data.masks import is_image_folder
from monai_diffae.data.table_reading import read_table
from monai_diffae.support.names import without_extension
from monai_diffae.support.words import as_typed

__all__ = ["common_root", "grouped_by_subject", "read_data_list", "with_subjects"]


def read_data_list(
    file: str | os.PathLike, dataset_dir: Path, key: str = "training", masks: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Read a data list.

    Args:
        file: a MONAI data list (JSON), or a CSV with a column ``image`` or ``file``.
        dataset_dir: where an ``image`` is looked for that is not there relative to the list.
        key: of the list in a JSON file.
        masks: keys of further paths, which not all entries must have.

    Raises:
        ValueError: for another extension, a file that is missing or no list (or what
            :func:`~monai_diffae.data.table_reading.read_table` refuses), a missing key or column, a list without
            entries, an entry without image, an image that does not exist or is given twice.
    """
    path = Path(os.path.abspath(file))
    if path.suffix.lower() not in (".json", ".csv"):
        raise ValueError(f"A data list is a .json or a .csv file, got {os.fspath(file)!r}.")
    if not path.is_file():
        raise ValueError(f"There is no data list {os.fspath(file)!r}.")
    if path.suffix.lower() == ".json":
        try:
            items = [dict(item) for item in load_decathlon_datalist(path, data_list_key=str(key))]
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file} is no MONAI data list with the key {key!r}: {str(error).rstrip('.')}. Expected "
                f"{{{key!r}: [{{'image': PATH}}, ...]}}."
            ) from None
    else:
        table = read_table(path)
        column = next((name for name in ("image", "file") if name in table.columns), None)
        if column is None:
            raise ValueError(f"{file} has no column image or file; it has {', '.join(table.columns)}.")
        items = [{"image": row.pop(column)} | {k: v for k, v in row.items() if k and v} for row in table.rows]
    if not items:
        raise ValueError(f"{file} names no image.")
    seen: set[str] = set()
    for item in items:
        for name in ("image", *(mask for mask in masks if mask in item)):
            item[name] = _existing(item.get(name), path, dataset_dir)
        if item["image"] in seen:
            raise ValueError(f"{file} names {item['image']} twice.")
        seen.add(item["image"])
    return items


def _existing(image: Any, list_file: Path, dataset_dir: Path) -> str:
    if not isinstance(image, str) or not image:
        raise ValueError(f"{list_file}: each entry has an image, the path of one file or DICOM folder, got {image!r}.")
    relative = os.path.relpath(image, list_file.parent) if os.path.isabs(image) else image  # MONAI joins what exists
    for root in (list_file.parent, dataset_dir):
        if (root / relative).exists():
            return os.path.normpath(root / relative)
    raise ValueError(f"{list_file} names {image}, which is neither in {list_file.parent} nor in {dataset_dir}.")


def with_subjects(
    items: Sequence[Mapping[str, Any]], dataset_dir: Path, pattern: str | None = None
) -> list[dict[str, Any]]:
    """The items with ``subject``, where they lack it, in their order but each subject's together.

    Args:
        items: with ``image``.
        dataset_dir: paths are seen from there.
        pattern: regular expression; see :func:`~monai_diffae.data.find_volumes`.
    """
    pattern = None if pattern is None else _checked(as_typed(pattern, "subject_pattern"))
    paths = [Path(os.path.relpath(item["image"], dataset_dir)).as_posix() for item in items]
    shared = os.path.commonpath([os.path.dirname(path) for path in paths])
    named = []
    for item, path in zip(items, paths):
        subject = item.get("subject") if pattern is None else None
        named.append({**item, "subject": str(subject or _subject(path, shared, pattern))})
    return grouped_by_subject(named)


def bids_label(path: str) -> str:
    """The subject in a path as BIDS has it, ``sub-01``; empty where there is none."""
    label = re.search(r"(?:^|/)(sub-[0-9A-Za-z]+)", path)
    return "" if label is None else label[1]


def grouped_by_subject(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items with ``subject`` in their order but each subject's together."""
    order = {subject: place for place, subject in enumerate(dict.fromkeys(item["subject"] for item in items))}
    return sorted(items, key=lambda item: order[item["subject"]])


def common_root(data: Sequence[Mapping[str, Any]], dataset_dir: str | os.PathLike) -> str:
    """The folder that results and the tables name the images of a data list from.

    Args:
        data: with ``image``.
        dataset_dir: the folder that was asked for.

    Returns:
        ``dataset_dir`` if it holds all images; else (a data list may name images elsewhere) the deepest folder that
        does.
    """
    folders = [os.path.dirname(os.path.abspath(item["image"])) for item in data]  # links are not followed
    root = os.path.abspath(dataset_dir)
    inside = all(os.path.commonpath([root, folder]) == root for folder in folders)
    return os.fspath(dataset_dir) if inside else os.path.commonpath(folders)


def _checked(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"subject_pattern {pattern!r} is no regular expression: {error}.") from None
    return pattern


def _subject(path: str, shared: str, pattern: str | None) -> str:
    if pattern is not None:
        match = re.search(pattern, path)
        if match is None:
            raise ValueError(f"subject_pattern {pattern!r} finds nothing in {path}.")
        return match[1] if match.groups() else match[0]
    if label := bids_label(path):
        return label
    parts = Path(os.path.relpath(path, shared or ".")).parts or (path,)  # none of dataset_dir itself, a DICOM folder
    below = next(k for k, part in enumerate(parts) if k == len(parts) - 1 or not is_image_folder(part))
    if below < len(parts) - 1:
        return parts[below]
    name = without_extension(parts[-1])
    return re.sub(r"_\d{4}$", "", name) if is_image_folder(Path(path).parent.name) else name  # nnU-Net's channels
