# SPDX-License-Identifier: Apache-2.0
"""Names in tables, lists, directions and archives that lead out of a folder: nothing is written outside of ``out``."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import Ended, run_module
from monai.apps.utils import extractall
from PIL import Image
from workflows import TINY, draw_weights, write_direction

from monai_diffae.checkpoints import load_weights
from monai_diffae.datasets import find_hippocampus, find_mednist

BUNDLE = Path(__file__).parents[2] / "bundles" / "natural_images_diffae"
FAST = TINY | {"image_size": 16, "num_inference_steps": 2, "inversion": "explicit", "progress": False}
EVIL = "../../../evil"


@pytest.fixture
def home(tmp_path) -> Path:
    """``home/in`` with pictures in and above it, and weights."""
    home = tmp_path / "home"
    for k, name in enumerate(("in/sub/d.png", "in/c.png", "above/a.png", "above/b.png")):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (20, 20), dtype=np.uint8)).save(path)
    draw_weights(BUNDLE, home / "model.pt", **TINY)
    return home


def command(home: Path, verb: str, **options: object) -> Ended:
    given = FAST | {"dataset_dir": home / "in", "output_dir": home / "out", "ckpt_path": home / "model.pt"} | options
    words = [str(word) for name, value in given.items() for word in (f"--{name}", value)]
    return run_module("monai_diffae", verb, BUNDLE, *words)


def files(folder: Path) -> dict[str, int]:
    """All of a folder but those below ``home/out``, with when they were written."""
    found = (path for path in folder.rglob("*") if path.is_file() and folder / "home" / "out" not in path.parents)
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


def json_list(folder: Path, names: tuple[str, ...]) -> Path:
    path = folder / "list.json"
    path.write_text(json.dumps({"training": [{"image": name} for name in names]}))
    return path


def csv_list(folder: Path, names: tuple[str, ...]) -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join(["image", *names]))
    return path


@pytest.mark.parametrize("listed", [json_list, csv_list])
@pytest.mark.parametrize("verb", ["reconstruct", "encode"])
def test_results_of_listed_pictures_stay_in_their_folder(home, tmp_path, verb, listed: Callable):
    names = ("../above/a.png", "sub/../../above/b.png", "sub/d.png")
    data_list = listed(home / "in", names)
    before = files(tmp_path)
    done = command(home, verb, data_list=data_list)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == before
    if verb == "reconstruct":
        written = {path.name for path in (home / "out").rglob("*_reconstruction.png")}
        assert written == {"a_reconstruction.png", "b_reconstruction.png", "d_reconstruction.png"}


def test_results_of_listed_pictures_that_are_absolute_stay_in_their_folder(home, tmp_path):
    data_list = json_list(home / "in", (str(home / "above" / "a.png"), str(home / "in" / "sub" / "d.png")))
    before = files(tmp_path)
    assert command(home, "reconstruct", data_list=data_list).returncode == 0
    assert files(tmp_path) == before


def test_a_table_of_labels_reads_and_writes_no_file_that_it_names(home, tmp_path):
    with open(home / "in" / "labels.csv", "w", newline="") as f:
        rows = [("c.png", 0), ("sub/d.png", 1), ("../above/a.png", 1), (f"{EVIL}.png", 0), ("/etc/passwd", 1)]
        csv.writer(f).writerows([("file", "bright"), *rows])
    before = files(tmp_path)
    done = command(home, "fit-attributes", labels_file=home / "in" / "labels.csv", attributes="['bright']")
    assert "passwd" not in "".join(path.name for path in (home / "out").rglob("*"))
    assert files(tmp_path) == before, done.stderr


@pytest.mark.parametrize("name", [EVIL, "/evil", "a/b", "..", "a\0b"])
def test_attributes_with_the_names_of_paths_write_nothing_elsewhere(home, tmp_path, name):
    write_direction(home / "attributes.pt", name, z_dim=8)
    before = files(tmp_path)
    options = {"attributes_path": home / "attributes.pt", "amount": 0.3}
    done = command(home, "edit", attribute=name, **options)
    assert files(tmp_path) == before, done.stderr
    assert not Path("/evil").exists()


def archive(path: Path, members: dict[str, bytes | str]) -> Path:
    """A tar; a member whose content is a string links there."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


BAD_ARCHIVES = {
    "above": {"../evil.txt": b"x"},
    "absolute": {"ABSOLUTE/evil.txt": b"x"},
    "link": {"MedNIST/out": "..", "MedNIST/out/evil.txt": b"x"},
}


def bad_archive(path: Path, kind: str, target: Path) -> Path:
    members = {name.replace("ABSOLUTE", str(target)): content for name, content in BAD_ARCHIVES[kind].items()}
    return archive(path, members)


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
@pytest.mark.parametrize(
    ("find", "name"), [(find_mednist, "MedNIST.tar.gz"), (find_hippocampus, "Task04_Hippocampus.tar")]
)
def test_an_archive_in_place_of_a_public_data_set_is_not_unpacked(tmp_path, find, name, kind):
    """It is known by its checksum."""
    folder = tmp_path / "data" / "inner"
    folder.mkdir(parents=True)
    bad_archive(folder / name, kind, tmp_path)
    with pytest.raises(FileNotFoundError, match=name.split(".")[0]):
        find(folder, download=True)
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_what_unpacks_public_data_sets_stays_in_its_folder(tmp_path, kind):
    """MONAI's function, which versions before 1.6 did not do: it is tried with each."""
    folder = tmp_path / "data" / "MedNIST_parent"
    folder.mkdir(parents=True)
    with contextlib.suppress(ValueError, OSError, RuntimeError):
        extractall(bad_archive(tmp_path / "MedNIST.tar.gz", kind, tmp_path), folder)
    outside = [path for path in tmp_path.rglob("evil.txt") if folder not in Path(os.path.realpath(path)).parents]
    assert outside == []


def test_weights_whose_archive_names_files_elsewhere_write_none(tmp_path):
    """A file of weights is a zip; it is never unpacked, and one with other entries is refused."""
    network, path = torch.nn.Linear(2, 2), tmp_path / "data" / "model.pt"
    path.parent.mkdir()
    torch.save(network.state_dict(), path)
    with zipfile.ZipFile(path, "a") as weights:
        weights.writestr("../evil.txt", "x")
        weights.writestr(str(tmp_path / "evil.txt"), "x")
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"model\.pt"):
        load_weights(torch.nn.Linear(2, 2), path)
    assert set(tmp_path.rglob("*")) == before
