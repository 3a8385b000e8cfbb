# SPDX-License-Identifier: Apache-2.0
"""Data run no code, name no files outside of their folder, and are shown as text."""

from __future__ import annotations

import ast
import logging
import os
import pickle
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from monai_diffae.checkpoints import load_monai_generative_checkpoint, load_official_checkpoint, load_weights
from monai_diffae.data import LoadVolumed, find_images
from monai_diffae.demo.page import write_page
from monai_diffae.demo.workflows import WORKFLOWS
from monai_diffae.metrics.evaluation.findings import Findings, Measure
from monai_diffae.results import EvaluationReport
from monai_diffae.semantics import AttributeDirections, LatentStatistics
from monai_diffae.semantics.typicality import LatentTypicality
from monai_diffae.support.kept import Kept

REPOSITORY = Path(__file__).parents[1]
FOLDERS = ("monai_diffae", "tutorials")
SOURCES = [path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py")]
# From the name of a call to the argument that makes it harmless; None: it never is.
CALLS = {
    "torch.load": "weights_only=True",
    "np.load": "allow_pickle=False",
    "numpy.load": "allow_pickle=False",
    "yaml.load": None,
    "yaml.unsafe_load": None,
    "pickle.load": None,
    "pickle.loads": None,
    "joblib.load": None,
    "shelve.open": None,
    "marshal.loads": None,
    "os.system": None,
    "os.popen": None,
    "eval": None,
    "exec": None,
}


def calls(source: str) -> Iterator[tuple[str, str]]:
    """Name and text of every call."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), ast.unparse(node)


def harmful(source: str) -> list[str]:
    found = []
    for name, text in calls(source):
        needed = CALLS.get(name, "")
        if needed is None or needed not in text or "shell=True" in text:
            found.append(name)
    return found


def test_no_call_runs_what_a_file_says():
    assert harmful("torch.load(p)") == ["torch.load"]  # found without weights_only=True
    assert harmful("exec(t)\nsubprocess.run(c, shell=True)") == ["exec", "subprocess.run"]
    assert harmful("torch.load(p, weights_only=True)\nmodel.eval()\nast.literal_eval(t)") == []
    wrong = {(path.name, name) for path in SOURCES for name in harmful(path.read_text())}
    assert wrong == set()


class Code:
    """Makes a folder where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


def saved(content: object, path: Path) -> None:
    torch.save(content, path)


def pickled(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


READERS = {
    "weights": lambda path: load_weights(nn.Linear(2, 2), path),
    "official": load_official_checkpoint,
    "monai_generative": load_monai_generative_checkpoint,
    "statistics": LatentStatistics.load,
    "attributes": AttributeDirections.load,
    "typicality": LatentTypicality.load,
}


@pytest.mark.parametrize("write", [saved, pickled, legacy])
@pytest.mark.parametrize("kind", READERS)
def test_a_file_of_numbers_with_code_in_it_is_refused(tmp_path, kind, write):
    mark, path = tmp_path / "code_was_run", tmp_path / "file.pt"
    write({"state_dict": {"a": torch.ones(1)}, "names": Code(mark), "mean": Code(mark)}, path)
    with pytest.raises(Exception, match=r"file\.pt"):
        READERS[kind](path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Code(mark)))  # it would have been
    assert mark.exists()


@pytest.mark.parametrize("write", [saved, pickled, legacy])
def test_a_cache_with_code_in_it_is_made_anew(tmp_path, write):
    mark, path = tmp_path / "code_was_run", tmp_path / "latents.pt"
    write({"fingerprint": {}, "result": Code(mark)}, path)
    assert Kept(path, {}).read() is None
    assert not mark.exists()


@pytest.mark.parametrize("extension", ["npy", "npz"])
def test_arrays_of_objects_are_refused(tmp_path, extension):
    mark, path = tmp_path / "code_was_run", tmp_path / f"a.{extension}"
    values = np.empty((2, 2), dtype=object)
    values[:] = Code(mark)
    np.save(path, values) if extension == "npy" else np.savez(path, values)
    with pytest.raises(ValueError, match=rf"a\.{extension} cannot be read as an image"):
        LoadVolumed("image")({"image": str(path)})
    assert not mark.exists()


NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nspacings: 1 1 1\nencoding: raw\ndata file: {}\n\n"
META = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = {}\n"


@pytest.mark.parametrize("name", ["../secret.raw", "/etc/passwd", "sub/../../secret.raw", "LIST\n../secret.raw"])
@pytest.mark.parametrize(("extension", "header"), [("nhdr", NRRD), ("nrrd", NRRD), ("mhd", META)])
def test_headers_do_not_reach_out_of_their_folder(tmp_path, extension, header, name):
    (tmp_path / "secret.raw").write_bytes(bytes(range(8)))
    folder = tmp_path / "data" / "sub"
    folder.mkdir(parents=True)
    (tmp_path / "data" / f"a.{extension}").write_text(header.format(name))
    with pytest.raises(ValueError, match="outside of its folder"):
        LoadVolumed("image")({"image": str(tmp_path / "data" / f"a.{extension}")})
    (folder / "inside.raw").write_bytes(bytes(range(8)))
    (tmp_path / "data" / f"a.{extension}").write_text(header.format("sub/inside.raw"))
    image = LoadVolumed("image")({"image": str(tmp_path / "data" / f"a.{extension}")})["image"]
    assert image.max() == 7


def test_links_that_lead_out_are_named(tmp_path, caplog):
    (tmp_path / "store").mkdir()
    (tmp_path / "data").mkdir()
    for path in ("store/b.png", "data/a.png"):
        Image.new("L", (8, 8)).save(tmp_path / path)
    (tmp_path / "data" / "out").symlink_to(tmp_path / "store")
    (tmp_path / "data" / "in.png").symlink_to(tmp_path / "data" / "a.png")
    with caplog.at_level(logging.WARNING):
        files = [Path(item["image"]).name for item in find_images(tmp_path / "data")]
    assert files == ["a.png", "b.png"]
    (line,) = (record.getMessage() for record in caplog.records if "followed" in record.getMessage())
    assert line.endswith(f"followed links that lead elsewhere: 1, {tmp_path / 'data' / 'out'} to {tmp_path / 'store'}")


EVIL = "<script>alert(1)</script> & \"'|"


def test_the_page_of_an_evaluation_shows_names_as_text(tmp_path):
    section = Findings("reconstruction", "Title", "Text", [Measure(EVIL, EVIL, 1.0)], {EVIL: EVIL})
    EvaluationReport(tmp_path, {EVIL: EVIL}).write([section])
    for name in ("index.html", "metrics.md"):
        assert "<script>" not in (tmp_path / name).read_text()
    assert "&lt;script&gt;" in (tmp_path / "index.html").read_text()


def test_the_page_of_the_demo_shows_names_as_text(tmp_path):
    workflows = [replace(workflow, title=EVIL, caption=EVIL) for workflow in WORKFLOWS]
    write_page(tmp_path / "index.html", workflows, {EVIL: EVIL}, {workflow.name: EVIL for workflow in workflows})
    text = (tmp_path / "index.html").read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_the_readme_says_what_a_configuration_can_do():
    text = " ".join((REPOSITORY / "README.md").read_text().split())
    assert "A bundle's configuration can run any Python" in text


def test_shells_get_words_and_no_text(monkeypatch):
    """A folder whose name is a command is a name."""
    from monai_diffae.commands.bundle_run import shell_line

    words = ["run", "--dataset_dir", "$(touch x); `touch y`"]
    done = subprocess.run(["bash", "-c", f"printf '%s\n' {shell_line(words)}"], capture_output=True, text=True)
    assert done.stdout.splitlines() == words
