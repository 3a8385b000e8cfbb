# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_diffae.data import common_root, find_images, find_volumes


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(data: list[dict], folder: Path) -> list[tuple[str, str]]:
    return [(Path(item["image"]).relative_to(folder).as_posix(), item["subject"]) for item in data]


def test_a_monai_data_list_names_the_images_and_keeps_its_other_entries(tmp_path):
    touch(tmp_path, "data/b.nii.gz", "data/a.nii.gz", "data/c.nii.gz", "data/d.nii.gz")
    training = [{"image": "b.nii.gz", "fold": 1}, {"image": "a.nii.gz", "fold": 2, "subject": "p"}]
    content = {"name": "x", "training": training}
    content["validation"] = [{"image": "c.nii.gz"}]
    for place in ("lists", "data"):  # relative to dataset_dir, and to the list
        file = tmp_path / place / "list.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
        data = find_volumes(tmp_path / "data", data_list=file)
        assert names(data, tmp_path / "data") == [("b.nii.gz", "b"), ("a.nii.gz", "p")]
        assert data[0]["fold"] == 1
        validation = find_volumes(tmp_path / "data", data_list=file, data_list_key="validation")
        assert names(validation, tmp_path / "data") == [("c.nii.gz", "c")]


@pytest.mark.parametrize("column", ["image", "file"])
def test_a_csv_names_the_images_and_their_subjects(tmp_path, column):
    touch(tmp_path, "x/a.nii", "y/b.nii", "x/c.nii", "x/d.nii")
    (tmp_path / "list.csv").write_text(f"{column},subject,age\nx/a.nii,p1,50\ny/b.nii,p2,\nx/c.nii,p1,51\n")
    data = find_volumes(tmp_path, data_list=tmp_path / "list.csv")
    assert names(data, tmp_path) == [("x/a.nii", "p1"), ("x/c.nii", "p1"), ("y/b.nii", "p2")]
    assert all("age" not in item for item in data)  # a batch needs the entries of all its items


def test_a_list_names_masks_where_there_are_some(tmp_path):
    touch(tmp_path, "a.nii", "b.nii", "masks/a.nii")
    (tmp_path / "list.csv").write_text("image,lesion_mask\na.nii,masks/a.nii\nb.nii,\n")
    data = find_volumes(tmp_path, {"lesion_mask": "lesions"}, data_list=tmp_path / "list.csv")
    assert [item.get("lesion_mask") for item in data] == [str(tmp_path / "masks" / "a.nii"), None]


def test_a_list_names_pictures_and_keeps_those_of_a_subject_together(tmp_path):
    touch(tmp_path, "x/a.png", "b.jpg", "x/c.tif", "d.png")
    (tmp_path / "list.json").write_text(json.dumps({"training": [{"image": "b.jpg", "fold": 1}, {"image": "x/a.png"}]}))
    data = find_images(tmp_path, tmp_path / "list.json")
    assert data == [{"image": str(tmp_path / "b.jpg")}, {"image": str(tmp_path / "x" / "a.png")}]
    (tmp_path / "list.csv").write_text("image,subject\nx/c.tif,p\nb.jpg,\nx/a.png,p\n")
    data = find_images(tmp_path / "x", tmp_path / "list.csv")
    assert [Path(item["image"]).name for item in data] == ["c.tif", "a.png", "b.jpg"]
    assert [item["subject"] for item in data] == ["p", "p", str(tmp_path / "b.jpg")]


def test_pictures_of_another_kind_in_a_list_are_refused(tmp_path):
    touch(tmp_path, "a.png", "b.nii.gz")
    (tmp_path / "list.csv").write_text("image\na.png\nb.nii.gz\n")
    with pytest.raises(ValueError, match=r"list.csv names .*b\.nii\.gz, which is no picture"):
        find_images(tmp_path, tmp_path / "list.csv")


def test_results_are_named_from_the_data_folder_or_from_what_all_images_share(tmp_path):
    inside = [{"image": str(tmp_path / "data" / name)} for name in ("a.png", "x/b.png")]
    outside = [{"image": str(tmp_path / "other" / name)} for name in ("y/a.png", "z/a.png")]
    assert common_root(inside, str(tmp_path / "data")) == str(tmp_path / "data")
    assert common_root(outside, str(tmp_path / "data")) == str(tmp_path / "other")
    assert common_root(outside[:1], str(tmp_path / "data")) == str(tmp_path / "other" / "y")
    assert common_root(inside + outside, str(tmp_path / "data")) == str(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", "path\na.nii\n", "has no column image or file; it has path"),
        ("l.csv", "image\nz.nii\n", r"names z\.nii, which is neither in"),
        ("l.csv", "image\na.nii\na.nii\n", "names .*a.nii twice"),
        ("l.csv", "image,age\n,5\n", "each entry has an image"),
        ("l.json", '{"test": []}', "is no MONAI data list with the key 'training'"),
        ("l.json", '["a.nii"]', "is no MONAI data list with the key 'training'"),
        ("l.json", '{"training": ["a.nii"]}', "is no MONAI data list with the key 'training'"),
        ("l.json", '{"training": []}', "l.json names no image"),
        ("l.json", "{", "is no MONAI data list"),
        ("l.csv", "image\n", "l.csv has no rows below its columns image"),
        ("l.txt", "a.nii", r"A data list is a \.json or a \.csv file"),
    ],
)
def test_lists_that_do_not_fit_are_refused_by_their_name(tmp_path, name, content, message):
    touch(tmp_path, "a.nii")
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        find_volumes(tmp_path, data_list=tmp_path / name)


@pytest.mark.parametrize(
    ("files", "subjects"),
    [
        (["a.nii", "b.nii.gz"], ["a", "b"]),
        (["p1/t1.nii", "p1/t2.nii", "p2/t1.nii"], ["p1", "p1", "p2"]),
        (["raw/p1/t1.nii", "raw/p2/t1.nii"], ["p1", "p2"]),
        (["sub-01/ses-1/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz"], ["sub-01", "sub-02"]),
        (["images/sub-0001.nii.gz", "images/sub-0002.nii.gz"], ["sub-0001", "sub-0002"]),
    ],
)
def test_subjects_are_told_by_labels_folders_or_names(tmp_path, files, subjects):
    data = find_volumes(touch(tmp_path, *files))
    assert [item["subject"] for item in data] == subjects


def test_subjects_are_told_by_a_pattern_where_there_is_one(tmp_path):
    touch(tmp_path, "T1/p7_a.nii", "T2/p7_b.nii", "T1/p8.nii")
    data = find_volumes(tmp_path, subject_pattern=r"/(p\d+)")
    assert names(data, tmp_path) == [("T1/p7_a.nii", "p7"), ("T2/p7_b.nii", "p7"), ("T1/p8.nii", "p8")]
    with pytest.raises(ValueError, match=r"finds nothing in T1/p7_a\.nii"):
        find_volumes(tmp_path, subject_pattern="q")


def test_subjects_of_pictures_are_told_by_a_pattern(tmp_path):
    touch(tmp_path, "T1/p7_a.png", "T2/p7_b.png", "T1/p8.png")
    assert all("subject" not in item for item in find_images(tmp_path))
    data = find_images(tmp_path, subject_pattern=r"/(p\d+)")
    assert names(data, tmp_path) == [("T1/p7_a.png", "p7"), ("T2/p7_b.png", "p7"), ("T1/p8.png", "p8")]
    with pytest.raises(ValueError, match=r"finds nothing in T1/p7_a\.png"):
        find_images(tmp_path, subject_pattern="q")


@pytest.mark.parametrize("listed", [True, False])
def test_subjects_of_pictures_are_told_by_labels_of_bids_without_a_word(tmp_path, listed):
    files = ["ses-1/sub-01_a.png", "sub-02/a.png", "sub-02/b.png", "ses-2/sub-01_a.png", "other.png", "subject-1.png"]
    touch(tmp_path, *files)
    (tmp_path / "list.csv").write_text("file\n" + "".join(f"{file}\n" for file in sorted(files)))
    found = names(find_images(tmp_path, data_list=tmp_path / "list.csv" if listed else None), tmp_path)
    assert dict(found) == {
        "ses-1/sub-01_a.png": "sub-01",
        "ses-2/sub-01_a.png": "sub-01",
        "sub-02/a.png": "sub-02",
        "sub-02/b.png": "sub-02",
        "other.png": str(tmp_path / "other.png"),
        "subject-1.png": str(tmp_path / "subject-1.png"),
    }
    places = [subject for _, subject in found]
    assert abs(places.index("sub-01") - (len(places) - 1 - places[::-1].index("sub-01"))) == 1


def test_a_key_and_a_pattern_may_look_like_numbers(tmp_path):
    touch(tmp_path, "x7/a.nii", "x8/a.nii")
    (tmp_path / "list.json").write_text('{"2024": [{"image": "x7/a.nii"}, {"image": "x8/a.nii"}]}')
    data = find_volumes(tmp_path, data_list=tmp_path / "list.json", data_list_key=2024)
    assert len(data) == 2
    with pytest.raises(ValueError, match=r"subject_pattern 7 finds nothing|subject_pattern '7' finds nothing"):
        find_volumes(tmp_path, subject_pattern=7)


def test_what_all_pictures_of_a_list_have_is_kept(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    (tmp_path / "list.csv").write_text("file,label,note\na.png,1,x\nb.png,0,\n")
    data = find_images(tmp_path, data_list=tmp_path / "list.csv")
    assert data == [
        {"image": str(tmp_path / "a.png"), "label": "1"},
        {"image": str(tmp_path / "b.png"), "label": "0"},
    ]


def test_hidden_files_are_not_found(tmp_path):
    touch(tmp_path, "a.nii", ".partial.b.nii.gz", ".resume/c.nii")
    assert names(find_volumes(tmp_path), tmp_path) == [("a.nii", "a")]


# DICOM


def test_dicom_files_and_series_are_found_by_what_is_in_them(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    for k, (name, series) in enumerate((("ct/1.2.3", "1"), ("ct/1.2.4", "1"), ("mix/a", "2"), ("mix/b.dcm", "3"))):
        dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
        dataset.SeriesInstanceUID, dataset.InstanceNumber, dataset.PatientID = f"1.{series}", k, f"patient {series}"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        dataset.save_as(tmp_path / name)
    touch(tmp_path, "ct/README", "ct/notes.txt")
    expected = [("ct", "patient 1"), ("mix/a", "patient 2"), ("mix/b.dcm", "patient 3")]
    assert names(find_volumes(tmp_path), tmp_path) == expected
    (tmp_path / "ct/1.2.4").rename(tmp_path / "mix/c")
    (tmp_path / "ct/1.2.3").rename(tmp_path / "mix/d")
    expected = [("mix", "patient 1"), ("mix/a", "patient 2"), ("mix/b.dcm", "patient 3")]
    assert names(find_volumes(tmp_path), tmp_path) == expected


@pytest.mark.parametrize("name", ["none.json", "none.csv"])
def test_a_list_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(ValueError, match=f"There is no data list '.*{name}'"):
        find_images(tmp_path, tmp_path / name)
