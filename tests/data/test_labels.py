# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor

from monai_diffae.data import LabelsWhereShownd, MaskAread, MaskToLabeld, add_labels

TABLE = "subject,file,lesion,age\none,images/a.nii,1,71.5\ntwo,images/b.nii,0,33\nthree,images/unused.nii,0,1\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "labels.csv").write_text(TABLE)
    return tmp_path


def test_labels_are_added_as_numbers_by_the_path_of_the_image(folder):
    data = [{"image": str(folder / "images" / "b.nii"), "mask": "m"}, {"image": str(folder / "images" / "a.nii")}]
    labelled = add_labels(data, folder / "labels.csv", ["lesion", "age"])
    assert labelled == [
        data[0] | {"lesion": 0.0, "age": 33.0, "subject": "two"},
        data[1] | {"lesion": 1.0, "age": 71.5, "subject": "one"},
    ]
    assert all(isinstance(item["lesion"], float) for item in labelled)
    assert "lesion" not in data[0]


def test_only_the_attributes_asked_for_are_added(folder):
    (item,) = add_labels([{"image": str(folder / "images" / "a.nii")}], folder / "labels.csv", ["age"])
    assert set(item) == {"image", "age", "subject"}


@pytest.mark.parametrize("cell", ["", "  ", "nan"])
def test_an_empty_cell_is_a_label_that_is_not_known(folder, cell):
    (folder / "labels.csv").write_text(f"file,lesion,age\nimages/a.nii,{cell},7\n")
    (item,) = add_labels([{"image": str(folder / "images" / "a.nii")}], folder / "labels.csv", ["lesion", "age"])
    assert math.isnan(item["lesion"])
    assert item["age"] == 7


@pytest.mark.parametrize("image", ["images/a.nii", "./images/../images/a.nii"])
def test_relative_images_are_found_from_the_working_folder(folder, monkeypatch, image):
    monkeypatch.chdir(folder)
    assert add_labels([{"image": image}], "labels.csv", ["age"])[0]["age"] == 71.5


def test_paths_in_the_table_may_be_absolute_or_relative_to_it(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "labels.csv"
    elsewhere.write_text(f"file,age\n{folder / 'images' / 'a.nii'},5\nb.nii,6\n")
    data = [{"image": str(folder / "images" / "a.nii")}, {"image": str(elsewhere.parent / "b.nii")}]
    assert [item["age"] for item in add_labels(data, elsewhere, ["age"])] == [5, 6]


def test_paths_that_are_not_in_the_tables_folder_are_relative_to_the_data(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "labels.csv"
    elsewhere.write_text("image,age\na.nii,5\nb.nii,6\n")
    data = [{"image": str(folder / "a.nii")}, {"image": str(elsewhere.parent / "b.nii")}]
    assert [item["age"] for item in add_labels(data, elsewhere, ["age"], dataset_dir=folder)] == [5, 6]
    with pytest.raises(ValueError, match=r"has no row for .*a\.nii"):
        add_labels(data, elsewhere, ["age"])


def test_two_rows_of_a_file_that_say_different_things_are_refused(folder):
    data = [{"image": str(folder / "a.nii")}]
    (folder / "labels.csv").write_text("file,age,visit\na.nii,5,1\na.nii,5,2\n")
    assert add_labels(data, folder / "labels.csv", ["age"])[0]["age"] == 5
    with pytest.raises(ValueError, match=r"has two rows for .*a\.nii that differ"):
        add_labels(data, folder / "labels.csv", ["visit"])


def test_a_table_that_is_not_there_is_named(folder):
    with pytest.raises(ValueError, match=r"There is no labels_file '.*none\.csv'"):
        add_labels([{"image": str(folder / "a.nii")}], folder / "none.csv", ["age"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,lesion\na,1\n", "has no column file; it has name, lesion"),
        ("file,age\nimages/a.nii,1\n", "has no column lesion; it has file, age"),
        ("", "labels.csv is empty"),
        ("file,lesion\n", "labels.csv has no rows"),
        ("file,lesion\n,1\n", "labels.csv, line 2: there is no file in the row"),
        ("file,lesion\nimages/b.nii,1\n", "has no row for .*a.nii; paths in it are relative to"),
        ("file,lesion\na.nii,1\n", "has no row for .*a.nii"),
        ("file,lesion\nimages/a.nii,yes\n", "labels.csv, line 2, column lesion: 'yes' is not a number"),
    ],
)
def test_what_the_table_lacks_is_named(folder, table, message):
    (folder / "labels.csv").write_text(table)
    with pytest.raises(ValueError, match=message):
        add_labels([{"image": str(folder / "images" / "a.nii")}], folder / "labels.csv", ["lesion"])


def test_a_row_that_ends_early_is_named(folder):
    (folder / "labels.csv").write_text("file,lesion\nimages/a.nii\n")
    with pytest.raises(ValueError, match=r"labels.csv, line 2: 1 cells, expected 2"):
        add_labels([{"image": str(folder / "images" / "a.nii")}], folder / "labels.csv", ["lesion"])


def mask(pixels: int) -> torch.Tensor:
    mask = torch.zeros(1, 4, 4)
    mask.view(-1)[:pixels] = 1
    return mask


@pytest.mark.parametrize("kind", [torch.Tensor, MetaTensor])
@pytest.mark.parametrize(("pixels", "min_area", "label"), [(0, 1, 0), (1, 1, 1), (3, 4, 0), (4, 4, 1), (16, 4, 1)])
def test_slices_with_enough_of_the_mask_are_positive(kind, pixels, min_area, label):
    item = {"mask": kind(mask(pixels)), "lesion": 0.5, "image": "kept"}
    result = MaskToLabeld("mask", ["lesion"], min_area)(item)
    assert result["lesion"] == float(label)
    assert isinstance(result["lesion"], float)
    assert result["image"] == "kept"
    assert item["lesion"] == 0.5


def test_interpolated_masks_count_above_one_half():
    item = {"mask": torch.tensor([[[0.4, 0.5, 0.6]]])}
    assert MaskToLabeld("mask", ["lesion"], min_area=1)(item)["lesion"] == 1
    assert MaskToLabeld("mask", ["lesion"], min_area=2)(item)["lesion"] == 0


def test_items_without_a_mask_keep_their_label():
    transform = MaskToLabeld(["lesion_mask", "bleed_mask"], ["lesion", "bleed"])
    result = transform({"bleed_mask": mask(0), "lesion": 1.0, "bleed": 1.0})
    assert (result["lesion"], result["bleed"]) == (1.0, 0.0)


@pytest.mark.parametrize(("pixels", "left"), [(0, 0.0), (2, 1.0)])
def test_one_mask_serves_several_labels_of_the_volume(pixels, left):
    item = {"mask": mask(pixels), "lesion_left": 1.0, "lesion_right": 0.0, "lesion_above": float("nan")}
    result = MaskToLabeld("mask", [["lesion", "lesion_left", "lesion_right", "lesion_above"]])(item)
    assert (result["lesion"], result["lesion_left"], result["lesion_right"]) == (left, left, 0.0)
    assert math.isnan(result["lesion_above"])


def test_each_mask_needs_its_label():
    with pytest.raises(ValueError, match="Expected one label for each of the masks"):
        MaskToLabeld(["a", "b"], ["lesion"])


def test_items_that_are_not_labelled_stay_so_though_they_have_a_mask():
    assert math.isnan(MaskToLabeld("mask", ["lesion"])({"mask": mask(2), "lesion": float("nan")})["lesion"])


GRADE = LabelsWhereShownd({"grade": ["tumour", 4]})


@pytest.mark.parametrize("kind", [torch.Tensor, MetaTensor])
@pytest.mark.parametrize(("pixels", "shown"), [(0, False), (3, False), (4, True), (16, True)])
def test_a_label_counts_only_where_its_structure_is_shown(kind, pixels, shown):
    item = {"tumour": kind(mask(pixels)), "grade": 3.0, "age": 70.0}
    result = GRADE(item)
    assert result["grade"] == 3.0 if shown else math.isnan(result["grade"])
    assert (result["age"], item["grade"]) == (70.0, 3.0)


def test_several_labels_are_shown_by_masks_of_their_own():
    transform = LabelsWhereShownd({"grade": ["tumour", 4], "size": ["organ", 1]})
    result = transform({"tumour": mask(2), "organ": mask(2), "grade": 3.0, "size": 7.0})
    assert math.isnan(result["grade"])
    assert result["size"] == 7.0


def test_labels_that_are_not_there_need_no_mask():
    assert GRADE({"age": 70.0}) == {"age": 70.0}
    assert math.isnan(GRADE({"grade": float("nan")})["grade"])
    assert LabelsWhereShownd({})({"grade": 3.0}) == {"grade": 3.0}


def test_a_label_whose_mask_is_missing_is_named_with_its_file():
    image = MetaTensor(torch.zeros(1, 4, 4), meta={"filename_or_obj": "images/a.nii"})
    with pytest.raises(ValueError, match=r"no mask 'tumour' of images/a\.nii, and its label 'grade' .* made again"):
        GRADE({"image": image, "grade": 3.0})
    with pytest.raises(ValueError, match="no mask 'tumour' of an item"):
        GRADE({"grade": 3.0})


@pytest.mark.parametrize("shown", ["tumour", ["tumour"], ["tumour", 0], ["tumour", 4, 5]], ids=str)
def test_a_mask_has_a_number_of_pixels(shown):
    with pytest.raises(ValueError, match="Expected a mask and a number of pixels, 1 or more, for 'grade'"):
        LabelsWhereShownd({"grade": shown})


def test_the_table_can_say_which_files_belong_together(folder):
    data = [{"image": str(folder / name), "subject": name} for name in ("a.nii", "b.nii", "c.nii")]
    (folder / "labels.csv").write_text("file,subject,age\na.nii,007,5\nb.nii,007,6\nc.nii,,7\n")
    labelled = add_labels(data, folder / "labels.csv", "age")
    pictures = add_labels([{"image": item["image"]} for item in data], folder / "labels.csv", "age")
    assert [item["subject"] for item in pictures] == ["007", "007", str(folder / "c.nii")]
    assert [(item["subject"], item["age"]) for item in labelled] == [("007", 5), ("007", 6), ("c.nii", 7)]


@pytest.mark.parametrize("attributes", ["2024", 2024, ["2024"], (2024,)])
def test_one_attribute_is_named_as_several_are(folder, attributes):
    (folder / "labels.csv").write_text("file,2024,0\na.nii,5,6\n")
    (item,) = add_labels([{"image": str(folder / "a.nii")}], folder / "labels.csv", attributes)
    assert item["2024"] == 5
    assert "0" not in item


@pytest.mark.parametrize("cell", ["sub\\a.nii", " sub/a.nii ", "sub/Mu\u0308ller.nii", "sub/M\xfcller.nii"])
def test_files_are_found_under_other_spellings(folder, cell):
    name = "M\xfcller.nii" if "ller" in cell else "a.nii"
    (folder / "labels.csv").write_text(f"file,age\n{cell},5\n", encoding="utf-8")
    (item,) = add_labels([{"image": str(folder / "sub" / name)}], folder / "labels.csv", ["age"])
    assert item["age"] == 5


@pytest.mark.parametrize("kind", [torch.Tensor, MetaTensor])
def test_the_area_of_a_mask_is_a_label(kind):
    item = {"organ_mask": kind(mask(3)), "area": 7.0}
    result = MaskAread({"area": "organ_mask", "other": "organ_mask"})(item)
    assert (result["area"], result["other"], item["area"]) == (3.0, 3.0, 7.0)
    assert MaskAread({})(item) == item
    with pytest.raises(ValueError, match="no mask 'organ_mask' of an item, whose area is to be 'area'"):
        MaskAread({"area": "organ_mask"})({})
