# SPDX-License-Identifier: Apache-2.0
"""Picture folders as a user brings them: faces and photographs that scikit-image carries, with tables of labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

COLUMNS = ("file", "bright", "grade", "mean")


def write_faces(folder: Path) -> dict[str, tuple[int, int]]:
    """Sixty grey faces of 25x25 pixels under odd names, in subfolders.

    Returns:
        Size (width, height) of each file, by its name in the folder.
    """
    rows, sizes = [], {}
    for k, face in enumerate((255 * skimage.data.lfw_subset()[:60]).astype(np.uint8)):
        name = (f"face {k}.png", f"älter/no.{k}.tif", f"a.b/c d/Face-{k} (1).PNG", f"x/it's#{k}.tiff")[k % 4]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(folder / name)
        rows.append((name, face))
        sizes[name] = (25, 25)
    _write_labels(folder / "labels.csv", rows)
    return sizes


def write_photographs(folder: Path) -> dict[str, tuple[int, int]]:
    """Crops of photographs, of several sizes, shapes, formats and kinds of pixel; returns as :func:`write_faces`."""
    random = np.random.default_rng(0)
    rows, sizes = [], {}
    for title in ("astronaut", "coffee", "chelsea", "rocket", "retina", "immunohistochemistry"):
        photograph = getattr(skimage.data, title)()
        (folder / title).mkdir(parents=True)
        for k in range(10):
            height, width = random.integers(40, 120, 2)
            top = random.integers(photograph.shape[0] - height)
            left = random.integers(photograph.shape[1] - width)
            crop = photograph[top : top + height, left : left + width]
            name = f"{title}/{title} {k}{_save_as(crop, folder / title / f'{title} {k}', len(rows) % 8)}"
            rows.append((name, crop))
            sizes[name] = (int(width), int(height))
    _write_labels(folder / "labels.csv", rows)
    return sizes


def _save_as(crop: np.ndarray, path: Path, kind: int) -> str:
    """Write one of eight kinds of file; returns its extension."""
    image, options = Image.fromarray(crop), {}
    extension = (".jpg", ".webp", ".png", ".png", ".png", ".JPG", ".tif", ".jpeg")[kind]
    if kind == 2:
        alpha = np.full(crop.shape[:2], 255, np.uint8)
        alpha[:8] = 0
        image = Image.fromarray(np.dstack([crop, alpha]))
    elif kind == 3:
        image = image.quantize(64)
    elif kind == 4:
        image = Image.fromarray((crop.mean(axis=-1) * 257).astype(np.uint16))
    elif kind == 5:  # stored lying on its side
        image, options = image.rotate(90, expand=True), {"exif": Image.Exif()}
        options["exif"][0x0112] = 6
    elif kind == 6:
        image = image.convert("CMYK")
    image.save(path.with_name(path.name + extension), **options)
    return extension


def _write_labels(file: Path, rows: list[tuple[str, np.ndarray]]) -> None:
    """Whether a picture is bright, its grade of three, and its mean grey value, the last not known for one."""
    means = np.array([pixels.mean() for _, pixels in rows])
    ranks = means.argsort().argsort()
    with open(file, "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(COLUMNS)
        for k, (name, _) in enumerate(rows):
            mean = "" if k == 0 else f"{means[k]:.2f}"
            table.writerow([name, int(2 * ranks[k] >= len(rows)), 3 * ranks[k] // len(rows), mean])


def write_few_labels(labels: Path, file: Path, negative: int) -> None:
    """Ten labels of bright pictures and ``negative`` of others, in another folder than the pictures."""
    with open(labels, newline="") as f:
        rows = list(csv.DictReader(f))
    chosen = [row for row in rows if row["bright"] == "1"][:10]
    chosen += [row for row in rows if row["bright"] == "0"][:negative]
    with open(file, "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["file", "label"])
        table.writerows([row["file"], row["bright"]] for row in chosen)
