# SPDX-License-Identifier: Apache-2.0
import csv
import json
import logging

import nibabel as nib
import numpy as np
import pytest
from monai.apps import DecathlonDataset
from served import served_archive

from monai_diffae.datasets import (
    find_hippocampus,
    find_hippocampus_or_volumes,
    split_hippocampus_or_volumes,
    write_hippocampus_labels,
)
from monai_diffae.datasets.hippocampus import measure_hippocampus, subject_of
from monai_diffae.datasets.hippocampus.subject_lists import SPLITS, draw_split, listed_subjects

UNLISTED = 900  # a subject of no list


def mask_of(shape, anterior, posterior):
    mask = np.zeros(shape, dtype=np.uint8)
    mask.reshape(-1)[:anterior] = 1
    mask.reshape(-1)[anterior : anterior + posterior] = 2
    return mask


def write_folder(root, numbers, spacing=1.0):
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    entries = []
    for number in numbers:
        name, shape = f"hippocampus_{number:03d}.nii.gz", (8, 9 + number % 2, 7)
        affine = np.diag([spacing, spacing, spacing, 1.0])
        nib.save(nib.Nifti1Image(np.ones(shape, dtype=np.float32), affine), root / "imagesTr" / name)
        nib.save(nib.Nifti1Image(mask_of(shape, 30, 20 + number % 2), affine), root / "labelsTr" / name)
        (root / "imagesTr" / f"._{name}").write_bytes(b"macOS")
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    info = {"name": "", "description": "", "reference": "", "licence": "", "tensorImageSize": "3D", "modality": {}}
    info |= {"labels": {}, "numTraining": len(entries), "numTest": 0, "training": entries, "test": []}
    (root / "dataset.json").write_text(json.dumps(info))


def first(split):
    return min(listed_subjects(split))


@pytest.fixture
def folder(tmp_path):
    numbers = [2 * s - k for s in (first("train"), first("val"), first("test"), UNLISTED) for k in (0, 1)]
    write_folder(tmp_path / "Task04_Hippocampus", numbers)
    return tmp_path


def test_two_numbers_are_one_subject():
    assert [subject_of(f"imagesTr/hippocampus_{n:03d}.nii.gz") for n in (1, 2, 3, 4, 390)] == [1, 1, 2, 2, 195]
    with pytest.raises(ValueError, match="Expected a file named hippocampus_<number>"):
        subject_of("brain_001.nii.gz")


def test_lists_share_no_subject():
    lists = [listed_subjects(split) for split in SPLITS]
    assert sum(map(len, lists)) == len(frozenset().union(*lists)) == 154
    assert [round(len(subjects) / 154, 1) for subjects in lists] == [0.7, 0.1, 0.2]
    with pytest.raises(ValueError, match="split must be one of train, val, test"):
        listed_subjects("all")


def test_the_lists_can_be_drawn_again():
    subjects = frozenset().union(*map(listed_subjects, SPLITS))
    assert draw_split(subjects) == {split: sorted(listed_subjects(split)) for split in SPLITS}


def test_each_side_has_its_subjects_and_the_test_the_unlisted(folder):
    for split in ("train", "val"):
        items = find_hippocampus(folder, split)
        assert {item["subject"] for item in items} == {str(first(split))}
        assert len(items) == 2
        assert all(item["mask"] == item["image"].replace("imagesTr", "labelsTr") for item in items)
    assert {item["subject"] for item in find_hippocampus(folder, "test")} == {str(first("test")), str(UNLISTED)}
    assert find_hippocampus(folder / "Task04_Hippocampus", "val") == find_hippocampus(folder, "val")


def test_volumes_without_mask_and_missing_subjects_are_logged(folder, caplog):
    image = find_hippocampus(folder, "train")[0]["image"]
    (folder / "Task04_Hippocampus" / "labelsTr" / image.split("/")[-1]).unlink()
    with caplog.at_level(logging.WARNING):
        assert len(find_hippocampus(folder, "train")) == 1
    assert f"{image} is left out" in caplog.text
    assert f"{len(listed_subjects('train')) - 1} of the {len(listed_subjects('train'))} subjects" in caplog.text


def test_a_folder_without_the_data_is_named_with_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"unpack Task04_Hippocampus.tar so that .*Task04_Hippocampus/imagesTr"):
        find_hippocampus(tmp_path)
    write_folder(tmp_path / "Task04_Hippocampus", [2 * first("train")])
    with pytest.raises(ValueError, match="holds no volume of split 'val'"):
        find_hippocampus(tmp_path, "val")


def test_monais_downloader_fetches_what_is_missing(folder, tmp_path, monkeypatch):
    with served_archive(folder, "Task04_Hippocampus.tar") as address:
        monkeypatch.setitem(DecathlonDataset.resource, "Task04_Hippocampus", address)
        monkeypatch.setitem(DecathlonDataset.md5, "Task04_Hippocampus", None)
        assert len(find_hippocampus(tmp_path / "new", "val", download=True)) == 2


def test_a_download_that_fails_ends_with_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(DecathlonDataset.resource, "Task04_Hippocampus", "http://127.0.0.1:9/x.tar")
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded .*unpack Task04_Hippocampus.tar so that"):
        find_hippocampus(tmp_path, download=True)


def test_labels_are_measured_in_the_masks(folder, tmp_path):
    items = find_hippocampus(folder, "test")
    with open(write_hippocampus_labels(items, folder, tmp_path / "labels.csv")) as f:
        rows = list(csv.DictReader(f))
    for row, item in zip(rows, items, strict=True):
        odd = int(item["image"][-10:-7]) % 2
        assert (folder / row["file"]).exists()
        assert row["subject"] == item["subject"]
        assert float(row["volume_ml"]) == pytest.approx((50 + odd) / 1000, abs=1e-4)
        assert float(row["anterior_share"]) == pytest.approx(30 / (50 + odd), abs=1e-4)
        assert [row[f"crop_{axis}"] for axis in "xyz"] == ["8", str(9 + odd), "7"]


def test_volume_counts_the_size_of_voxels_and_empty_masks_are_named(folder, tmp_path):
    assert measure_hippocampus(mask_of((4, 4, 4), 10, 10), 8.0) == {"volume_ml": 0.16, "anterior_share": 0.5}
    item = find_hippocampus(folder, "val")[0]
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), dtype=np.uint8), np.eye(4)), item["mask"])
    with pytest.raises(ValueError, match=r"hippocampus_\d+.nii.gz: The mask holds no hippocampus"):
        write_hippocampus_labels([item], folder, tmp_path / "labels.csv")


def test_other_volumes_are_taken_whole(folder, tmp_path):
    (tmp_path / "other" / "images").mkdir(parents=True)
    for name in "abcd":
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4)), np.eye(4)), tmp_path / "other" / "images" / f"{name}.nii.gz")
    items = find_hippocampus_or_volumes(tmp_path / "other", "test")
    assert len(items) == 4
    train, val = split_hippocampus_or_volumes(items, tmp_path / "other", 0.25, seed=0)
    assert (len(train), len(val)) == (3, 1)


def test_the_data_set_keeps_its_split_and_gives_masks_where_they_are_asked_for(folder):
    items = find_hippocampus_or_volumes(folder, "train")
    assert all(set(item) == {"image", "subject"} for item in items)
    train, val = split_hippocampus_or_volumes(items, folder, 0.5, seed=0)
    assert {item["subject"] for item in train} == {str(first("train"))}
    assert {item["subject"] for item in val} == {str(first("val"))}
    masked = find_hippocampus_or_volumes(folder, "test", masks={"lesion_mask": "labelsTr"})
    assert all(item["lesion_mask"] == item["image"].replace("imagesTr", "labelsTr") for item in masked)


def test_an_empty_folder_asks_for_the_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no Task04_Hippocampus"):
        find_hippocampus_or_volumes(tmp_path / "empty", download="false")
