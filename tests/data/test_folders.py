# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from monai_diffae.data import find_images, find_volumes


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def relative(data: list[dict[str, str]], folder: Path) -> list[str]:
    return [Path(item["image"]).relative_to(folder).as_posix() for item in data]


def test_volumes_are_found_in_all_subfolders_in_the_order_of_their_paths(tmp_path):
    touch(tmp_path, "b.nii", "sub-2/T1.nii.gz", "sub-10/deep/T1.nii", "a.nii.gz", "notes.txt", "a.nii.gz.partial")
    expected = ["a.nii.gz", "b.nii", "sub-10/deep/T1.nii", "sub-2/T1.nii.gz"]
    assert relative(find_volumes(tmp_path), tmp_path) == expected
    assert find_volumes(str(tmp_path)) == find_volumes(tmp_path)
    assert all(list(item) == ["image", "subject"] for item in find_volumes(tmp_path))


def test_a_folder_images_is_searched_alone(tmp_path):
    touch(tmp_path, "images/x/a.nii.gz", "images/b.nii.gz", "lesions/b.nii.gz", "c.nii.gz")
    assert relative(find_volumes(tmp_path), tmp_path) == ["images/b.nii.gz", "images/x/a.nii.gz"]


def test_masks_are_those_of_the_images_names_where_there_are_some(tmp_path):
    touch(tmp_path, "images/x/a.nii.gz", "images/b.nii.gz", "images/c.nii.gz")
    touch(tmp_path, "lesions/x/a.nii.gz", "lesions/b.nii.gz", "lesions/z.nii.gz", "brains/c.nii.gz", "brains/b.nii.gz")
    data = find_volumes(tmp_path, {"lesion_mask": "lesions", "brain_mask": "brains", "other": "nowhere"})
    names = [
        {key: Path(path).relative_to(tmp_path).as_posix() for key, path in item.items() if key != "subject"}
        for item in data
    ]
    assert names == [
        {"image": "images/b.nii.gz", "lesion_mask": "lesions/b.nii.gz", "brain_mask": "brains/b.nii.gz"},
        {"image": "images/c.nii.gz", "brain_mask": "brains/c.nii.gz"},
        {"image": "images/x/a.nii.gz", "lesion_mask": "lesions/x/a.nii.gz"},
    ]


def test_pictures_are_found_whatever_the_case_of_their_extension(tmp_path):
    touch(tmp_path, "b/1.PNG", "a.jpg", "c.jpeg", "d.tif", "e.TIFF", "f.webp", "g.nii.gz", "h.txt")
    assert relative(find_images(tmp_path), tmp_path) == ["a.jpg", "b/1.PNG", "c.jpeg", "d.tif", "e.TIFF", "f.webp"]


@pytest.mark.parametrize("find", [find_volumes, find_images])
@pytest.mark.parametrize("folder", ["nowhere", "empty", "unsuitable"])
def test_a_folder_without_files_is_refused_by_its_name(tmp_path, find, folder):
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "unsuitable/a.txt", "unsuitable/a.dcm")
    with pytest.raises(ValueError, match=rf"^No .* in dataset_dir '.*{folder}'; give a folder that holds some"):
        find(tmp_path / folder)


@pytest.mark.parametrize(
    ("find", "names"),
    [
        (find_volumes, ("a.nii", "a.nii.gz")),
        (find_volumes, ("x/a.nii", "x/a.nii.gz")),
        (find_volumes, ("x/a.nii", "x/a.png")),
        (find_images, ("x/a.png", "x/a.JPG")),
    ],
)
def test_names_that_differ_in_the_extension_only_are_refused(tmp_path, find, names):
    with pytest.raises(ValueError, match="differ in the extension only"):
        find(touch(tmp_path, *names))


@pytest.mark.parametrize(
    ("find", "names"),
    [(find_volumes, ("a.nii", "a.1.nii.gz", "x/a.nii.gz")), (find_images, ("a.png", "a.1.jpg", "x/a.jpg"))],
)
def test_names_that_differ_otherwise_are_not(tmp_path, find, names):
    assert len(find(touch(tmp_path, *names))) == 3
