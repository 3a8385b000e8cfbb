# SPDX-License-Identifier: Apache-2.0
import csv
import io
import logging
import math

import numpy as np
import pytest
from monai.apps import MedNISTDataset
from PIL import Image
from served import served_archive

from monai_diffae.datasets import (
    find_mednist,
    find_mednist_or_images,
    split_mednist_or_images,
    write_mednist_labels,
)
from monai_diffae.datasets.mednist.measures import (
    foreground,
    measure_elongation,
    measure_shapes,
    measure_size,
    measure_tilt,
)
from monai_diffae.datasets.mednist.name_lists import CLASSES, SPLITS, draw_split, listed_names, write_lists


def ellipse(height, width, tilt=0.0, size=64):
    """Grey picture of an ellipse with the given half axes, its long axis turned to the right by ``tilt`` degrees."""
    y, x = np.indices((size, size)) - size / 2 + 0.5
    angle = math.radians(tilt)
    along, across = -y * math.cos(angle) + x * math.sin(angle), y * math.sin(angle) + x * math.cos(angle)
    return np.where((along / height) ** 2 + (across / width) ** 2 <= 1, 200, 20).astype(np.uint8)


def jpeg(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG")
    return buffer.getvalue()


def write_folder(root, names, seed=0):
    """A folder as MONAI's download unpacks to, with other bytes in each file."""
    rng = np.random.default_rng(seed)
    for image_class in CLASSES:
        (root / image_class).mkdir(parents=True)
    for name in names:
        picture = np.clip(ellipse(*rng.uniform(10, 25, 2)) + rng.integers(0, 20, (64, 64)), 0, 255)
        (root / name).write_bytes(jpeg(picture.astype(np.uint8)))


def some(split, count=3):
    return sorted(listed_names(split))[:: len(listed_names(split)) // count][:count]


UNLISTED = ["Hand/999000.jpeg", "HeadCT/999001.jpeg", "CXR/999002.jpeg"]


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "MedNIST", [*some("train"), *some("val"), *some("test"), *UNLISTED])
    return tmp_path


def names_of(items):
    return {"/".join(item["image"].split("/")[-2:]) for item in items}


def test_lists_share_no_name_and_hold_most_of_the_set():
    lists = {split: listed_names(split) for split in SPLITS}
    assert sum(map(len, lists.values())) == len(frozenset().union(*lists.values())) == 55_954
    total = 55_954
    assert 0.85 < len(lists["train"]) / total < 0.95
    assert 0.02 < len(lists["val"]) / total < 0.04
    assert 0.05 < len(lists["test"]) / total < 0.09
    for names in lists.values():
        assert {name.split("/")[0] for name in names} == set(CLASSES)


def test_blocks_and_copies_stay_together(tmp_path):
    contents = {f"{name}/{k:06d}.jpeg": f"{name}{k}".encode() for name in CLASSES for k in range(0, 4000, 20)}
    contents["Hand/000020.jpeg"] = contents["Hand/000620.jpeg"] = contents["Hand/003920.jpeg"] = b"one image"
    split = draw_split(contents, seed=3)
    assert sorted(name for names in split.values() for name in names) == sorted(contents)
    sides = {name: side for side, names in split.items() for name in names}
    assert sides["Hand/000020.jpeg"] == sides["Hand/000620.jpeg"] == sides["Hand/003920.jpeg"]
    for name in CLASSES[:3]:  # none of the copies
        for block in range(40):
            assert len({sides[f"{name}/{block * 100 + k:06d}.jpeg"] for k in range(0, 100, 20)}) == 1
    assert draw_split(contents, seed=3) == split
    assert draw_split(contents, seed=4) != split
    write_lists(split, tmp_path)
    assert "Hand: " in (tmp_path / "val.txt").read_text()


def test_each_side_has_its_images_and_the_test_the_unlisted(folder):
    assert names_of(find_mednist(folder, "train")) == set(some("train"))
    assert names_of(find_mednist(folder, "val")) == set(some("val"))
    assert names_of(find_mednist(folder, "test")) == {*some("test"), *UNLISTED}
    assert find_mednist(folder / "MedNIST", "val") == find_mednist(folder, "val")


def test_copies_of_training_images_do_not_test(folder):
    copied = (folder / "MedNIST" / some("train")[0]).read_bytes()
    (folder / "MedNIST" / UNLISTED[0]).write_bytes(copied)
    assert names_of(find_mednist(folder, "test")) == {*some("test"), *UNLISTED[1:]}


def test_missing_images_are_logged(folder, caplog):
    with caplog.at_level(logging.WARNING):
        find_mednist(folder, "val")
    assert f"{len(listed_names('val')) - 3} of the {len(listed_names('val'))} images of split 'val'" in caplog.text


def test_a_folder_without_the_data_is_named_with_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no MedNIST: unpack MedNIST.tar.gz so that .*MedNIST/AbdomenCT"):
        find_mednist(tmp_path / "nowhere")


def test_a_folder_without_images_of_a_side_is_refused(tmp_path):
    write_folder(tmp_path / "MedNIST", some("train"))
    with pytest.raises(ValueError, match="holds no image of split 'val'"):
        find_mednist(tmp_path, "val")
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'training'"):
        find_mednist(tmp_path, "training")


def test_monais_downloader_fetches_what_is_missing(folder, tmp_path, monkeypatch):
    with served_archive(folder, "MedNIST.tar.gz") as address:
        monkeypatch.setattr(MedNISTDataset, "resource", address)
        monkeypatch.setattr(MedNISTDataset, "md5", None)
        found = find_mednist(tmp_path / "new" / "folder", "val", download=True)
    assert names_of(found) == set(some("val"))


def test_a_download_that_fails_ends_with_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(MedNISTDataset, "resource", "http://127.0.0.1:9/MedNIST.tar.gz")
    with pytest.raises(FileNotFoundError, match=r"MedNIST could not be downloaded .*unpack MedNIST.tar.gz so that"):
        find_mednist(tmp_path, download=True)


def test_labels_are_classes_and_shapes(folder, tmp_path):
    items = find_mednist(folder, "test")
    file = write_mednist_labels(items, folder, tmp_path / "out" / "labels.csv")
    with open(file) as f:
        rows = list(csv.DictReader(f))
    assert [f"MedNIST/{row['file'].removeprefix('MedNIST/')}" for row in rows] == [row["file"] for row in rows]
    assert (folder / rows[0]["file"]).exists()
    for row in rows:
        assert [name for name in CLASSES if row[f"is_{name}"] == "1"] == [row["class"]]
        assert bool(row["hand_size"]) == bool(row["hand_tilt"]) == (row["class"] == "Hand")
        assert bool(row["head_size"]) == bool(row["head_elongation"]) == (row["class"] == "HeadCT")
    with pytest.raises(ValueError, match="lies in no folder of a class"):
        write_mednist_labels([{"image": str(tmp_path / "a.jpeg")}], tmp_path, tmp_path / "labels.csv")


def test_shapes_of_ellipses_are_known():
    mask = foreground(ellipse(24, 12))
    assert measure_size(mask) == pytest.approx(math.pi * 24 * 12 / 64**2, rel=0.03)
    assert measure_elongation(mask) == pytest.approx(1, abs=0.05)
    assert measure_elongation(mask.T) == pytest.approx(-1, abs=0.05)
    assert measure_tilt(mask) == pytest.approx(0, abs=0.5)
    for tilt in (-60, -20, 35, 80):
        assert measure_tilt(foreground(ellipse(24, 12, tilt))) == pytest.approx(tilt, abs=2)


def test_brightness_contrast_and_what_lies_aside_do_not_count():
    picture = ellipse(20, 14, 10)
    mask = foreground(picture)
    assert np.array_equal(foreground(picture * 0.3 + 40), mask)
    with_letter = picture.copy()
    with_letter[2:8, 2:8] = 255
    assert np.array_equal(foreground(with_letter), mask)
    with_hole = picture.copy()
    with_hole[30:34, 30:34] = 20
    assert np.array_equal(foreground(with_hole), mask)


def test_pictures_without_a_shape_have_no_measure():
    blank, frame = np.full((64, 64), 7, dtype=np.uint8), np.zeros((64, 64), dtype=np.uint8)
    frame[5:60, 5:60] = 200
    for picture in (blank, frame, ellipse(3, 2)):
        assert all(map(math.isnan, measure_shapes(picture, "Hand").values()))
    assert math.isnan(measure_shapes(ellipse(20, 10), "Hand")["head_size"])
    assert measure_shapes(ellipse(20, 10), "Hand")["hand_size"] > 0
    assert all(map(math.isnan, measure_shapes(ellipse(20, 10), "CXR").values()))


def test_a_folder_of_other_pictures_is_taken_whole(tmp_path):
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.jpeg").write_bytes(jpeg(ellipse(10, 10)))
    items = find_mednist_or_images(tmp_path, "test")
    assert [item["image"] for item in items] == [str(tmp_path / f"{name}.jpeg") for name in "abcd"]
    train, val = split_mednist_or_images(items, tmp_path, 0.25, seed=0)
    assert (len(train), len(val)) == (3, 1)
    (tmp_path / "list.csv").write_text("image\nb.jpeg\n")
    assert len(find_mednist_or_images(tmp_path, "train", data_list=tmp_path / "list.csv")) == 1


def test_mednist_keeps_its_split(folder):
    train, val = split_mednist_or_images(find_mednist_or_images(folder, "train"), folder, 0.5, seed=0)
    assert names_of(train) == set(some("train"))
    assert names_of(val) == set(some("val"))
    assert names_of(find_mednist_or_images(folder, "test")) == {*some("test"), *UNLISTED}


@pytest.mark.parametrize("exists", [False, True])
def test_an_empty_folder_asks_for_mednist(tmp_path, exists):
    if exists:
        (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no MedNIST"):
        find_mednist_or_images(tmp_path / "empty", download="false")


def test_the_word_true_of_a_command_line_downloads(tmp_path, monkeypatch):
    monkeypatch.setattr(MedNISTDataset, "resource", "http://127.0.0.1:9/MedNIST.tar.gz")
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        find_mednist_or_images(tmp_path, download="True")
