# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from monai_diffae.data.label_tables import read_label_table, with_table_subjects
from monai_diffae.support.words import names_in

__all__ = ["LabelsWhereShownd", "MaskAread", "MaskToLabeld", "add_labels"]


def add_labels(
    data: Sequence[Mapping[str, Any]],
    labels_file: str | os.PathLike | None,
    attributes: str | Sequence[str],
    dataset_dir: str | os.PathLike | None = None,
) -> list[dict[str, Any]]:
    """Add labels from a table to a MONAI data list.

    Args:
        data: as of :func:`~monai_diffae.data.find_volumes`.
        labels_file: CSV with a column ``file`` (or ``image``), paths absolute or relative to the CSV's folder, or else
            to ``dataset_dir``, and a column of numbers for each attribute; an empty cell, or NA, is a label that is not
            known. A column ``subject`` says which files belong together. ``None`` without attributes.
        attributes: columns to take; one, or several.
        dataset_dir: see ``labels_file``; ``None`` for none.

    Returns:
        The items of ``data`` with a float for each attribute, NaN where the cell is empty.

    Raises:
        ValueError: for a missing table, column or file, and for what
            :func:`~monai_diffae.data.label_tables.read_label_table` refuses.
    """
    if labels_file is None and not attributes:
        return [dict(item) for item in data]
    if labels_file is None:
        raise ValueError(f"The labels {list(names_in(attributes))} need a table; give labels_file.")
    rows = read_label_table(labels_file, names_in(attributes), data, dataset_dir)
    labelled = []
    for item in with_table_subjects(data, rows):
        row = rows.get(Path(item["image"]).resolve())
        if row is None:
            folder = Path(labels_file).resolve().parent
            or_else = "" if dataset_dir is None else f" or to {dataset_dir}"
            raise ValueError(
                f"{labels_file} has no row for {item['image']}; paths in it are relative to {folder}{or_else}. A file "
                "without labels has a row with empty cells."
            )
        labelled.append(item | row.labels)
    return labelled


class MaskToLabeld(MapTransform):
    """Labels of a slice from those of its volume and a mask: what is positive for the volume stays so (becomes 1) only
    where enough of the mask is in the slice. A label that is NaN (not known) stays NaN.

    Args:
        keys: of the masks; an item that lacks one keeps its labels.
        labels: for each mask the name of a label, or of several. One that the item lacks is taken from the mask alone.
        min_area: smallest area in pixels that counts as enough.
    """

    def __init__(self, keys: KeysCollection, labels: Sequence[str | Sequence[str]], min_area: int = 1) -> None:
        super().__init__(keys, allow_missing_keys=True)
        if len(labels) != len(self.keys):
            raise ValueError(f"Expected one label for each of the masks {self.keys}, got {list(labels)}.")
        self.labels = list(labels)
        self.min_area = min_area

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key, labels in self.key_iterator(d, self.labels):
            shown = bool((d[key] > 0.5).sum() >= self.min_area)
            for label in names_in(labels):
                if not math.isnan(d.get(label, 1.0)):
                    d[label] = float(shown and d.get(label, 1.0) > 0)
        return d


class MaskAread(Transform):
    """Labels of a slice, or of a volume, that are the area of a mask in it: how much of an organ or lesion it shows.

    Args:
        areas: for each label the key of its mask. The label is the number of its pixels, or voxels, above 0.5.

    Raises:
        ValueError: when called, for an item without the mask.
    """

    def __init__(self, areas: Mapping[str, str]) -> None:
        self.areas = {str(name): str(mask) for name, mask in areas.items()}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for name, mask in self.areas.items():
            if mask not in d:
                raise ValueError(
                    f"There is no mask {mask!r} of {_file_of(d)}, whose area is to be {name!r}. Give it, or take "
                    f"{name!r} out of mask_areas."
                )
            d[name] = float((d[mask] > 0.5).sum())
        return d


class LabelsWhereShownd(Transform):
    """Labels of a slice from those of its volume where the slice shows what they are about: the grade of a tumour, the
    size of an organ. Elsewhere they become NaN (not known), which fitting leaves out.

    Args:
        shown_by: for each label the key of a mask and the number of its pixels from which on the label counts. A label
            that the item lacks, or that is NaN, needs no mask.

    Raises:
        ValueError: for another number than 1 or more; when called, for an item with a label and without its mask.
    """

    def __init__(self, shown_by: Mapping[str, Sequence]) -> None:
        for name, shown in shown_by.items():
            if isinstance(shown, str) or len(shown) != 2 or not shown[1] >= 1:
                raise ValueError(f"Expected a mask and a number of pixels, 1 or more, for {name!r}; got {shown!r}.")
        self.shown_by = {str(name): shown for name, shown in shown_by.items()}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for name, (mask, min_area) in self.shown_by.items():
            if math.isnan(d.get(name, math.nan)):
                continue
            if mask not in d:
                raise ValueError(
                    f"There is no mask {mask!r} of {_file_of(d)}, and its label {name!r} counts only where that shows "
                    f"it. Give the mask, or take {name!r} out of shown_by; data that an earlier version generated are "
                    "to be made again."
                )
            if (d[mask] > 0.5).sum() < min_area:
                d[name] = math.nan
        return d


def _file_of(item: Mapping[Hashable, Any]) -> str:
    return str(getattr(item.get("image"), "meta", {}).get("filename_or_obj", "an item"))
