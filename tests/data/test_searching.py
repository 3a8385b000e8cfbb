# SPDX-License-Identifier: Apache-2.0
"""What a folder search takes, what it leaves out, and that it says so: one line a reason, with count and example."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from ignite.engine import Engine

from monai_diffae.data import find_images, find_volumes
from monai_diffae.support.output_folders import mark_output_folder


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(data: list[dict[str, str]], folder: Path) -> list[str]:
    return [Path(item["image"]).relative_to(folder).as_posix() for item in data]


@pytest.fixture
def said(caplog):
    """What was said, without the folder that it was said of."""
    caplog.set_level(logging.WARNING)

    def lines(folder: Path) -> list[str]:
        texts = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return [text.replace(f"{folder}: left out ", "").replace(f"{folder}/", "") for text in texts]

    return lines


BOTH = pytest.mark.parametrize(("find", "name"), [(find_volumes, "a.nii.gz"), (find_images, "a.png")])


@BOTH
def test_linked_folders_and_files_are_searched(tmp_path, said, find, name):
    data, store = tmp_path / "data", tmp_path / "store"
    touch(store, f"p1/deep/{name}", f"p2/{name}", f"alone_{name}")
    touch(data, f"p0/{name}")
    (data / "p1").symlink_to(store / "p1", target_is_directory=True)
    (data / "p2").symlink_to("../store/p2", target_is_directory=True)
    (data / f"z_{name}").symlink_to(store / f"alone_{name}")
    assert found(find(data), data) == [f"p0/{name}", f"p1/deep/{name}", f"p2/{name}", f"z_{name}"]
    (line,) = said(data)
    links = [("p1", "p1"), ("p2", "p2"), (f"z_{name}", f"alone_{name}")]
    assert line.endswith("links that lead elsewhere: 3, " + "; ".join(f"{link} to {store / to}" for link, to in links))


@BOTH
def test_a_dataset_dir_may_be_a_link_itself(tmp_path, find, name):
    touch(tmp_path / "store", f"images/{name}")
    (tmp_path / "data").symlink_to(tmp_path / "store", target_is_directory=True)
    assert found(find(tmp_path / "data"), tmp_path / "data") == [f"images/{name}"]


@BOTH
def test_links_that_lead_nowhere_are_counted(tmp_path, said, find, name):
    touch(tmp_path, f"x/{name}")
    for k in range(3):
        (tmp_path / f"{k}_{name}").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert found(find(tmp_path), tmp_path) == [f"x/{name}"]
    assert said(tmp_path) == [f"links that lead nowhere: 4, e.g. 0_{name}"]


@BOTH
def test_loops_of_links_end(tmp_path, said, find, name):
    data = touch(tmp_path / "data", f"p1/{name}", f"p2/{name}")
    (data / "p1" / "loop").symlink_to(data, target_is_directory=True)
    (data / "p2" / "other").symlink_to(data / "p1", target_is_directory=True)
    (data / "up").symlink_to(tmp_path, target_is_directory=True)
    assert found(find(data), data) == [f"p1/{name}", f"p2/{name}"]
    assert said(data) == ["links to folders that are searched already: 3, e.g. p1/loop"]


@BOTH
def test_a_file_that_two_paths_lead_to_is_taken_once(tmp_path, said, find, name):
    data = touch(tmp_path / "data", f"x/{name}", f"y/{name}")
    (data / f"0_{name}").symlink_to(data / "x" / name)
    os.link(data / "y" / name, data / "y" / f"z_{name}")
    assert found(find(data), data) == [f"x/{name}", f"y/{name}"]
    assert said(data) == [f"further paths to files that are taken already (links): 2, e.g. y/z_{name}"]


@BOTH
def test_what_is_hidden_is_left_out(tmp_path, said, find, name):
    touch(
        tmp_path, name, f".{name}", f"._{name}", f".ipynb_checkpoints/{name}", ".DS_Store", "Thumbs.db", f".git/{name}"
    )
    touch(tmp_path, f"__MACOSX/._{name}", f"sub/.cache/{name}")
    assert found(find(tmp_path), tmp_path) == [name]
    assert said(tmp_path) == [f"hidden files and folders: 4, e.g. ._{name}"]


@BOTH
@pytest.mark.parametrize("place", ["out", "deep/er/out"])
def test_output_dir_is_left_out_whatever_is_in_it(tmp_path, said, find, name, place):
    touch(tmp_path, name, f"{place}/b_{name}", f"{place}/figures/c_{name}")
    assert found(find(tmp_path, output_dir=tmp_path / place), tmp_path) == [name]
    assert said(tmp_path) == [f"output_dir of this run: 1, e.g. {place}"]
    assert len(find(tmp_path)) == 3  # not told, not known
    assert len(find(tmp_path / place, output_dir=tmp_path)) == 2  # the images are in it, asked for by name


@BOTH
def test_results_of_earlier_runs_are_left_out(tmp_path, said, find, name):
    touch(tmp_path, name, f"new/b_{name}", f"interrupted/c_{name}", f"old/d_{name}", f"table/e_{name}")
    engine = Engine(lambda engine, batch: None)
    mark_output_folder(engine, tmp_path / "new")
    assert not (tmp_path / "new" / ".monai_diffae").exists()  # not before it starts
    engine.run([0])
    touch(tmp_path, "interrupted/.resume/slices/x.pt")
    (tmp_path / "old" / "latents.csv").write_text("file,subject,z_0,z_1\n")
    (tmp_path / "table" / "latents.csv").write_text("file,age\n")  # of somebody else
    assert found(find(tmp_path), tmp_path) == [name, f"table/e_{name}"]
    assert said(tmp_path) == ["folders with results of runs: 3, e.g. interrupted"]
    assert found(find(tmp_path / "new"), tmp_path / "new") == [f"b_{name}"]  # asked for by name


@BOTH
def test_results_beside_the_images_are_refused(tmp_path, find, name):
    touch(tmp_path, name)
    (tmp_path / "link").symlink_to(tmp_path)
    for output_dir in (tmp_path, tmp_path / "x" / "..", tmp_path / "link"):
        with pytest.raises(ValueError, match="output_dir and dataset_dir are both"):
            find(tmp_path, output_dir=output_dir)


@BOTH
def test_folders_of_masks_beside_images_are_left_out(tmp_path, said, find, name):
    touch(tmp_path, f"Task1/imagesTr/{name}", f"Task1/imagesTs/b_{name}", f"Task1/labelsTr/{name}", f"x/images/{name}")
    touch(tmp_path, f"x/masks/{name}", f"x/segmentations/deep/{name}", f"labels/{name}")
    expected = [f"Task1/imagesTr/{name}", f"Task1/imagesTs/b_{name}", f"labels/{name}", f"x/images/{name}"]
    assert found(find(tmp_path), tmp_path) == expected  # labels are beside no folder of images
    assert said(tmp_path) == ["folders of masks beside images: 3, e.g. Task1/labelsTr"]
    assert found(find(tmp_path / "Task1" / "labelsTr"), tmp_path / "Task1" / "labelsTr") == [name]


@BOTH
def test_masks_beside_their_images_are_left_out(tmp_path, said, find, name):
    extension = name[1:]
    touch(tmp_path, *(f"{stem}{extension}" for stem in ("p1_t1", "p1_flair", "p1_seg", "p2", "p2-mask", "face_mask")))
    touch(tmp_path, *(f"only/{stem}_seg{extension}" for stem in "ab"))
    expected = ["face_mask", "only/a_seg", "only/b_seg", "p1_flair", "p1_t1", "p2"]
    assert found(find(tmp_path), tmp_path) == [f"{stem}{extension}" for stem in expected]
    said_lines = said(tmp_path)
    assert len(said_lines) == 1
    assert said_lines[0].startswith(
        "files named as masks of images beside them (a data_list can name them): 2, e.g. p1_seg"
    )


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["imaging"], ["segmentation"]),  # KiTS
        (["volume-0", "volume-1"], ["segmentation-0", "segmentation-1"]),  # LiTS
        (["img0001", "img0002"], ["label0001", "label0002"]),
        (["T1", "T1_brain"], ["T1_brain_mask", "T1_brain_pve_seg"]),  # FSL
        (["T1"], ["T1_brain_mask"]),
        (["T1", "orig", "norm"], ["aseg", "aparc+aseg", "aparc.a2009s+aseg", "wmparc", "lh.ribbon"]),  # FreeSurfer
        (["BraTS_1_t1", "BraTS_1_t1ce"], ["BraTS_1_seg"]),
        (["MR head"], ["Segmentation.seg", "MR head-label"]),  # Slicer
        (["labelled", "segment_1", "unmasked", "x_1"], ["mask_1"]),
        (["p1_mask", "p2_mask"], []),  # of nothing that is there
    ],
)
def test_masks_of_usual_data_sets_are_told_by_their_names(tmp_path, images, masks):
    data = touch(tmp_path, *(f"p/{name}.nii.gz" for name in (*images, *masks)))
    assert found(find_volumes(data), data) == sorted(f"p/{name}.nii.gz" for name in images)


def test_pictures_may_show_masks_and_labels(tmp_path):
    touch(tmp_path, "mask_1.png", "helmet_1.png", "label_1.png", "aseg.png", "mask.png", "helmet_1_mask.png")
    assert found(find_images(tmp_path), tmp_path) == [
        "aseg.png",
        "helmet_1.png",
        "label_1.png",
        "mask.png",
        "mask_1.png",
    ]


def test_previews_of_volumes_are_left_out(tmp_path, said):
    touch(tmp_path, "a.nii.gz", "a.jpg", "b.jpg", "c.mgz", "c.gif")
    assert found(find_volumes(tmp_path), tmp_path) == ["a.nii.gz", "b.jpg", "c.mgz"]
    assert said(tmp_path) == ["pictures named as volumes beside them (previews): 2, e.g. a.jpg"]


def test_of_a_bids_data_set_the_images_are_taken(tmp_path, said):
    touch(tmp_path, "dataset_description.json", "participants.tsv", "README", "CHANGES")
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T1w.json", "sub-01/dwi/sub-01_dwi.bval")
    touch(tmp_path, "sub-01/anat/sub-01_space-x_desc-brain_mask.nii.gz", "sub-01/anat/sub-01_dseg.nii.gz")
    touch(tmp_path, "derivatives/fs/sub-01/anat/sub-01_T1w.nii.gz", "sourcedata/sub-01/x.nii.gz")
    assert found(find_volumes(tmp_path), tmp_path) == ["sub-01/anat/sub-01_T1w.nii.gz"]
    assert said(tmp_path) == [
        "what was derived from a BIDS data set, or it from: 2, e.g. derivatives",
        "files named as masks of images beside them (a data_list can name them): 2, e.g. "
        "sub-01/anat/sub-01_dseg.nii.gz",
    ]
    derived = tmp_path / "derivatives" / "fs"
    assert found(find_volumes(derived), derived) == ["sub-01/anat/sub-01_T1w.nii.gz"]


def test_of_nnu_nets_folders_those_of_images_are_taken(tmp_path, said):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/._a_0000.nii.gz", "imagesTs/b_0000.nii.gz", "labelsTr/a.nii.gz")
    touch(tmp_path, "dataset.json", "preview.png")
    data = find_volumes(tmp_path, {"label": "labelsTr"})
    assert found(data, tmp_path) == ["imagesTr/a_0000.nii.gz", "imagesTs/b_0000.nii.gz"]
    assert said(tmp_path) == [
        "what lies beside the folder imagesTr: 1, e.g. preview.png",
        "hidden files and folders: 1, e.g. imagesTr/._a_0000.nii.gz",
    ]


def test_channels_of_nnu_net_belong_to_one_subject_and_to_one_mask(tmp_path):
    touch(
        tmp_path, *(f"images{side}/p{k}_000{c}.nii.gz" for k, side in enumerate(("Tr", "Tr", "Ts")) for c in range(2))
    )
    touch(tmp_path, "labelsTr/p0.nii.gz", "labelsTr/p1.nii.gz")
    data = find_volumes(tmp_path, {"label": "labelsTr"})
    assert [item["subject"] for item in data] == ["p0", "p0", "p1", "p1", "p2", "p2"]
    labels = [Path(item["label"]).name if "label" in item else None for item in data]
    assert labels == ["p0.nii.gz", "p0.nii.gz", "p1.nii.gz", "p1.nii.gz", None, None]
    touch(tmp_path / "other", "imagesTr/s1/a.nii.gz", "imagesTr/s2/b_0001.nii.gz", "imagesTs/c_0001.nii.gz")
    assert [item["subject"] for item in find_volumes(tmp_path / "other")] == ["s1", "s2", "c"]


def test_formats_that_are_not_read_are_named(tmp_path, said):
    touch(tmp_path, "a.nii", "b.mnc", "c.mnc", "d.xyz", "e.json", "f.csv", "g.hdr", "h.img", "h.hdr", "LICENSE")
    (tmp_path / "archive").write_bytes(b"something")
    assert found(find_volumes(tmp_path), tmp_path) == ["a.nii", "h.img"]
    assert said(tmp_path) == [
        "files of a format that is not read (no extension): 1, e.g. archive",
        "files of a format that is not read (.mnc): 2, e.g. b.mnc",
        "files of a format that is not read (.xyz): 1, e.g. d.xyz",
        "pairs of .img and .hdr of which one is missing: 1, e.g. g.hdr",
    ]


def test_names_with_dots_are_one_kind_of_file(tmp_path, said):
    touch(tmp_path, "a.nii")
    for k in range(30):
        (tmp_path / f"1.2.840.{k}").write_bytes(b"no DICOM")
    assert len(find_volumes(tmp_path)) == 1
    assert said(tmp_path) == ["files of a format that is not read (no extension): 30, e.g. 1.2.840.0"]


def test_volumes_among_pictures_are_named(tmp_path, said):
    touch(tmp_path, "a.png", "b.nii.gz", "c.dcm", "d.svg", "e.nii")
    assert found(find_images(tmp_path), tmp_path) == ["a.png"]
    assert said(tmp_path) == [
        "NIfTI files, which are no pictures: 2, e.g. b.nii.gz",
        "DICOM files, which are no pictures: 1, e.g. c.dcm",
        "files of a format that is not read (.svg): 1, e.g. d.svg",
    ]


def test_a_folder_of_which_all_is_left_out_says_why(tmp_path):
    touch(tmp_path, "a.mnc", "b.mnc")
    with pytest.raises(ValueError, match=r"that holds some\. Left out: files of a format .* \(\.mnc\): 2"):
        find_volumes(tmp_path)


def test_extensions_are_read_in_any_case(tmp_path):
    names = ["A.NII", "B.Nii.GZ", "C.PNG", "D.TIF", "E.Jpeg", "F.MGZ", "G.NPY"]
    touch(tmp_path, *names, "H.IMG", "H.HDR")
    assert found(find_volumes(tmp_path), tmp_path) == [*names, "H.IMG"]
    assert found(find_images(tmp_path), tmp_path) == ["C.PNG", "D.TIF", "E.Jpeg"]


@pytest.mark.skipif(
    not hasattr(os, "fork") or os.geteuid() != 0, reason="only root can become someone who may not read"
)
def test_folders_and_files_that_may_not_be_read_are_counted():
    """In a process of somebody else, since root may read all."""
    folder = Path(tempfile.mkdtemp())
    try:
        touch(folder, "p1/a.nii", "p2/a.nii", "unknown")
        for path, mode in ((folder, 0o755), (folder / "p2", 0o700), (folder / "unknown", 0o600)):
            path.chmod(mode)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setuid(65534)
                handler = logging.StreamHandler(os.fdopen(write, "w"))
                logging.getLogger("monai_diffae").addHandler(handler)
                data = find_volumes(folder)
                handler.stream.write(f"{len(data)} found\n")
                handler.stream.flush()
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as stream:
            lines = stream.read().replace(f"{folder}/", "").splitlines()
        os.waitpid(child, 0)
        assert [line.split(": left out ")[-1] for line in lines] == [
            "folders that cannot be read (Permission denied): 1, e.g. p2",
            "files that cannot be read (Permission denied): 1, e.g. unknown",
            "1 found",
        ]
    finally:
        shutil.rmtree(folder)


def test_a_name_that_is_no_text_is_said_as_it_can_be(tmp_path, caplog):
    touch(tmp_path, "a.nii")
    with open(os.fsencode(tmp_path) + b"/\xff.mnc", "wb") as f:
        f.write(b"x")
    assert len(find_volumes(tmp_path)) == 1
    caplog.messages[0].encode()  # a log in UTF-8 can hold it


def test_every_configuration_that_searches_a_folder_leaves_out_its_output_dir():
    bundles = Path(__file__).parents[2] / "bundles"
    files = [*bundles.glob("*/configs/*.yaml"), *bundles.glob("*/configs/*.json")]
    texts = [text for file in files if (text := file.read_text()) and re.search(r"find_(volumes|images)\(", text)]
    assert len(texts) >= 12
    for text in texts:
        for call in re.findall(r"find_(?:volumes|images)\(.*?@subject_pattern[^)]*\)", text, re.DOTALL):
            assert re.search(r"@subject_pattern,\s+(output_dir=)?@output_(dir|folder)\)$", call), call
        for call in re.finditer(r"find_(?:volumes|images)\(", text):
            assert re.search(r"@output_(dir|folder)\b", text[call.end() : call.end() + 300]), text[call.start() :][:300]
    for file in bundles.glob("*/configs/inference.*"):
        assert re.search(r"output_folders\.mark_output_folder\(@evaluator, @output_(dir|folder)\)", file.read_text())
