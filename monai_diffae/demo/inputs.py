# SPDX-License-Identifier: Apache-2.0
"""The demo's data: what the packages of the extra ``demo`` carry, or real images; training has seen nothing of them."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from monai_diffae.datasets import find_hippocampus, find_mednist
from monai_diffae.datasets.brain_slices import generate_brain_slices
from monai_diffae.datasets.digits.arrays import load_digits_pixels

__all__ = [
    "list_hippocampi",
    "list_mednist",
    "make_brains",
    "make_digits",
    "make_few_digits",
    "make_scans",
    "make_template_hippocampi",
]

_HELD_OUT_SEED = 2000
_FEW_LABELS = 10  # of each class
_UNLABELLED = 300
_SCANS = {"CT_small.dcm": "ct.png", "MR_small.dcm": "mr.png"}  # of pydicom
_MEDNIST_CLASSES = ("Hand", "HeadCT", "CXR", "AbdomenCT")
_OF_A_CLASS = 2
_HIPPOCAMPUS = np.array([26, -22, -14])  # of the right one in the template: its middle, mm
_CROP = np.array([36, 50, 36])  # mm around it, as of the hippocampi that the network has learned
_NUM_HIPPOCAMPI = 2  # real ones


def make_brains(dataset_dir: Path, num_subjects: int) -> None:
    """Generated volumes of a seed of their own, and the untouched template; what is there is used again."""
    if not (dataset_dir / "labels.csv").exists():
        generate_brain_slices(dataset_dir, num_subjects, seed=_HELD_OUT_SEED, lesions="balls")  # as the weights know
    template_file = dataset_dir / "images" / "mni152_template.nii.gz"
    if not template_file.exists():
        _template().to_filename(template_file)


def make_template_hippocampi(dataset_dir: Path) -> None:
    """The two hippocampi of the template, cropped."""
    dataset_dir.mkdir(parents=True, exist_ok=True)
    template = _template()
    for side, sign in (("left", -1), ("right", 1)):
        middle = np.linalg.inv(template.affine) @ [*(_HIPPOCAMPUS * [sign, 1, 1]), 1]
        first = (middle[:3] - _CROP / 2).round().astype(int)
        crop = template.slicer[tuple(slice(start, start + size) for start, size in zip(first, _CROP))]
        crop.to_filename(dataset_dir / f"mni152_hippocampus_{side}.nii.gz")


def _template() -> nibabel.Nifti1Image:
    from nilearn.datasets import load_mni152_template

    return load_mni152_template(resolution=1)


def make_digits(dataset_dir: Path) -> None:
    """A digit of each class of the test set."""
    dataset_dir.mkdir(parents=True, exist_ok=True)
    for pixels, label in zip(*(part[:10] for part in load_digits_pixels("test"))):
        Image.fromarray(pixels).save(dataset_dir / f"digit-{label}.png")


def make_few_digits(dataset_dir: Path, digit: int) -> None:
    """Digits of the test set and ``labels.csv`` (``file, label``): ten of a class, ten others, 300 without a label."""
    dataset_dir.mkdir(parents=True, exist_ok=True)
    images, labels = load_digits_pixels("test")
    for k, pixels in enumerate(images[-_UNLABELLED:]):
        Image.fromarray(pixels).save(dataset_dir / f"unlabelled-{k:03d}.png")
    chosen = {1: images[labels == digit][:_FEW_LABELS], 0: images[labels != digit][:_FEW_LABELS]}
    with open(dataset_dir / "labels.csv", "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["file", "label"])
        for label, group in chosen.items():
            for k, pixels in enumerate(group):
                name = f"{'positive' if label else 'negative'}-{k}.png"
                Image.fromarray(pixels).save(dataset_dir / name)
                table.writerow([name, label])


def make_scans(dataset_dir: Path) -> None:
    """The CT and the MR slice that pydicom carries, as grey pictures: percentiles 1 to 99 of their values."""
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    dataset_dir.mkdir(parents=True, exist_ok=True)
    for source, name in _SCANS.items():
        values = dcmread(get_testdata_file(source)).pixel_array.astype(float)
        low, high = np.percentile(values, (1, 99))
        grey = 255 * ((values - low) / (high - low)).clip(0, 1)
        Image.fromarray(grey.round().astype(np.uint8)).save(dataset_dir / name)


def list_mednist(mednist: Path, path: Path) -> None:
    """A data list of a few test images of some classes of MedNIST."""
    items = find_mednist(mednist, "test")
    chosen = [[item for item in items if Path(item["image"]).parent.name == kind] for kind in _MEDNIST_CLASSES]
    _write_list([item["image"] for of_kind in chosen for item in of_kind[:_OF_A_CLASS]], path)


def list_hippocampi(hippocampi: Path, path: Path) -> None:
    """A data list of the first test volumes of Task04_Hippocampus."""
    _write_list([item["image"] for item in find_hippocampus(hippocampi, "test")[:_NUM_HIPPOCAMPI]], path)


def _write_list(images: list[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as f:
        csv.writer(f).writerows([["image"], *([image] for image in images)])
