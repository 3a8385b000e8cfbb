# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from monai_diffae.datasets.generated import write_labels
from monai_diffae.datasets.mednist.measures import measure_shapes
from monai_diffae.datasets.mednist.name_lists import CLASSES

__all__ = ["write_mednist_labels"]


def write_mednist_labels(
    data: Sequence[Mapping[str, Any]], dataset_dir: str | os.PathLike, labels_file: str | os.PathLike
) -> str:
    """Write a table of labels: ``file`` (from ``dataset_dir``), ``class``, ``is_<class>`` (0 or 1) and the shapes of
    :mod:`~monai_diffae.datasets.mednist.measures`, with an empty cell where a picture has none.

    Args:
        data: as of :func:`find_mednist`; the folder of an image is its class.
        dataset_dir: that ``data`` was found in.
        labels_file: CSV, replaced if it exists.

    Returns:
        ``labels_file``.

    Raises:
        ValueError: for an image whose folder is no class of MedNIST.
    """
    rows = []
    for item in tqdm(data, desc="shapes"):
        path = Path(item["image"])
        image_class = path.parent.name
        if image_class not in CLASSES:
            raise ValueError(f"{path} lies in no folder of a class of MedNIST ({', '.join(CLASSES)}).")
        with Image.open(path) as picture:
            shapes = measure_shapes(np.asarray(picture.convert("L")), image_class)
        rows.append(
            {"file": Path(os.path.relpath(path, dataset_dir)).as_posix(), "class": image_class}
            | {f"is_{name}": int(name == image_class) for name in CLASSES}
            | {name: "" if math.isnan(value) else round(value, 4) for name, value in shapes.items()}
        )
    Path(labels_file).parent.mkdir(parents=True, exist_ok=True)
    write_labels(Path(labels_file), rows)
    return os.fspath(labels_file)
