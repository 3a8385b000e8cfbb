# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from monai_diffae.data import few_shot_data


@pytest.fixture
def data(tmp_path) -> list[dict]:
    return [{"image": str(tmp_path / f"{i}.png")} for i in range(12)]


def write(tmp_path, text: str):
    file = tmp_path / "labels.csv"
    file.write_text(text, encoding="utf-8-sig")
    return file


def test_without_unlabelled_files_the_labelled_ones_are_left(data, tmp_path):
    file = write(tmp_path, "file,label\n3.png,1\n1.png,0\n2.png,\n")
    items = few_shot_data(data, file, max_unlabelled=0)
    assert [(item["image"][-5:], item["label"]) for item in items] == [("1.png", 0.0), ("3.png", 1.0)]


@pytest.mark.parametrize("max_unlabelled", [3, 100])
@pytest.mark.parametrize("negative", [0, 1])
def test_some_unlabelled_files_are_drawn_with_negative_ones_and_without(data, tmp_path, max_unlabelled, negative):
    rows = "3.png,0,1\n4.png,0,1.0\n2.png,0,\n" + negative * "5.png,1,0\n"
    file = write(tmp_path, f"file,round,label\n{rows}")
    items = few_shot_data(data, file, max_unlabelled=max_unlabelled, seed=1)
    assert [item["image"] for item in items] == sorted(
        (i["image"] for i in items), key=[i["image"] for i in data].index
    )
    assert sum(item["label"] == 1 for item in items) == 2
    assert sum(item["label"] == 0 for item in items) == negative
    assert sum(math.isnan(item["label"]) for item in items) == min(max_unlabelled, 10 - negative)
    again = few_shot_data(data, file, max_unlabelled=max_unlabelled, seed=1)
    assert [item["image"] for item in again] == [item["image"] for item in items]


def test_the_draw_depends_on_the_seed(data, tmp_path):
    file = write(tmp_path, "file,label\n3.png,1\n")
    draws = {tuple(i["image"] for i in few_shot_data(data, file, max_unlabelled=4, seed=s)) for s in range(5)}
    assert len(draws) > 1


def test_another_column_can_hold_the_labels(data, tmp_path):
    file = write(tmp_path, "file,smile\n3.png,1\n4.png,0\n")
    assert len(few_shot_data(data, file, "smile", max_unlabelled=0)) == 2
    with pytest.raises(ValueError, match="no column label; it has file, smile"):
        few_shot_data(data, file)


def test_a_column_has_to_be_named(data, tmp_path):
    file = write(tmp_path, "file,label\n3.png,1\n")
    with pytest.raises(ValueError, match=r"Expected the name of a column of labels_file '.*', got None\."):
        few_shot_data(data, file, None)


@pytest.mark.parametrize("label", ["2", "-1", "0.5"])
def test_another_label_is_an_error_that_names_the_file(data, tmp_path, label):
    file = write(tmp_path, f"file,label\n3.png,{label}\n")
    with pytest.raises(ValueError, match=rf"line 2 \(3.png\): label must be 1, 0 or empty .* got {label}\."):
        few_shot_data(data, file)


def test_files_without_a_label_are_not_labelled_however_that_is_said(data, tmp_path):
    file = write(tmp_path, "file,label\n3.png,1\n4.png,0\n5.png,NA\n6.png,nan\n7.png,\n")
    items = few_shot_data(data, file, max_unlabelled=0)
    assert [item["label"] for item in items] == [1, 0]


def test_the_table_can_say_which_files_belong_together(data, tmp_path):
    file = write(tmp_path, "file,label,subject\n3.png,1,p\n4.png,0,q\n5.png,,p\n")
    items = few_shot_data(data, file)
    assert [item["subject"] for item in items[3:7]] == ["p", "q", "p", items[6]["image"]]


def test_a_labelled_file_that_is_not_there_is_an_error(data, tmp_path):
    file = write(tmp_path, "file,label\n3.png,1\nelsewhere.png,0\n")
    with pytest.raises(ValueError, match=r"1 files that are not in the data, .*elsewhere.png"):
        few_shot_data(data, file)


def test_a_data_list_can_be_the_table_of_labels_and_name_its_files_from_the_data(data, tmp_path):
    (tmp_path / "lists").mkdir()
    file = write(tmp_path / "lists", "image,label\n3.png,1\n1.png,0\n")
    with pytest.raises(ValueError, match="2 files that are not in the data"):
        few_shot_data(data, file)
    items = few_shot_data(data, file, max_unlabelled=0, dataset_dir=tmp_path)
    assert [(item["image"][-5:], item["label"]) for item in items] == [("1.png", 0.0), ("3.png", 1.0)]
