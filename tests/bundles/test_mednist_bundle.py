# SPDX-License-Identifier: Apache-2.0
"""The bundle of MedNIST on a folder laid out like MedNIST, of drawn pictures."""

import csv
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
import workflows
from pictures_like_mednist import write_pictures_like_mednist
from PIL import Image

from monai_diffae.datasets.mednist.name_lists import listed_names
from monai_diffae.semantics import AttributeDirections, LatentTypicality
from monai_diffae.training import Muon

REPOSITORY = Path(__file__).parents[2]
BUNDLE = REPOSITORY / "bundles" / "mednist_diffae"
CONFIGS = BUNDLE / "configs"


@pytest.fixture(scope="module")
def mednist(tmp_path_factory) -> Path:
    return write_pictures_like_mednist(tmp_path_factory.mktemp("data"))


run = functools.partial(workflows.run, BUNDLE, **workflows.TINY)


@pytest.fixture(scope="module")
def trained(mednist, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    workflow = workflows.train_briefly(BUNDLE, mednist, folder, **workflows.TINY, max_iterations=3)
    assert isinstance(workflow.parser.get_parsed_content("train::optimizer"), Muon)
    assert len(workflow.parser.get_parsed_content("train::images")) == 30
    assert len(workflow.parser.get_parsed_content("validate::images")) == 12
    return folder


def test_training_and_inference_read_their_sides_of_the_split(mednist, trained, tmp_path):
    options = {"dataset_dir": str(mednist), "ckpt_path": str(trained / "models" / "model.pt"), "progress": False}
    run("inference", **options, output_dir=str(tmp_path), num_inference_steps=2, max_evaluations=2)
    results = {path.relative_to(tmp_path / "MedNIST").as_posix() for path in tmp_path.rglob("*_reconstruction.png")}
    assert len(results) == 12
    assert {result.replace("_reconstruction.png", ".jpeg") for result in results} <= listed_names("test")


def test_attributes_are_fitted_to_classes_and_shapes_of_training_pictures(mednist, trained, tmp_path):
    options = {"dataset_dir": str(mednist), "ckpt_path": str(trained / "models" / "model.pt"), "progress": False}
    names = ["is_Hand", "hand_size", "head_elongation"]
    run("inference", "fit_attributes", **options, output_dir=str(tmp_path), attributes=names)
    directions = AttributeDirections.load(tmp_path / "attributes.pt")
    assert list(directions.names) == names
    with open(tmp_path / "labels.csv") as f:
        rows = list(csv.DictReader(f))
    assert {row["file"].removeprefix("MedNIST/") for row in rows} <= listed_names("train")
    run("inference", "manipulate", **options, output_dir=str(tmp_path / "edit"), attribute="hand_size", amount=0.2,
        attributes_path=str(tmp_path / "attributes.pt"), num_inference_steps=2, max_evaluations=2)  # fmt: skip
    assert len(list((tmp_path / "edit").rglob("*_edit.png"))) == 12


def test_adam_and_other_pictures_can_be_chosen(tmp_path):
    for k in range(4):
        Image.fromarray(np.full((70, 64), 40 * k, dtype=np.uint8)).save(tmp_path / f"{k}.png")
    options = {"max_iterations": 1, "batch_size": 2, "optimizer": "adam", "timestep_density": "logit_normal"}
    workflow = workflows.train_briefly(BUNDLE, tmp_path, tmp_path / "run", **workflows.TINY, **options)
    assert isinstance(workflow.parser.get_parsed_content("train::optimizer"), torch.optim.Adam)
    assert (tmp_path / "run" / "models" / "model.pt").exists()


def test_the_licence_of_the_weights_is_said_everywhere():
    for file in ("LICENSE", "docs/data_license.txt", "docs/README.md", "configs/metadata.json"):
        assert "CC BY-SA 4.0" in (BUNDLE / file).read_text()


def test_typicality_compares_with_the_pictures_that_validate(mednist, trained, tmp_path):
    options = {"dataset_dir": str(mednist), "ckpt_path": str(trained / "models" / "model.pt"), "progress": False}
    run("inference", "fit_typicality", **options, output_dir=str(tmp_path))
    with open(tmp_path / "latents.csv") as f:
        files = {row["file"].removeprefix("MedNIST/") for row in csv.DictReader(f)}
    withheld = files & listed_names("val")
    assert len(withheld) == len(LatentTypicality.load(tmp_path / "typicality.pt").withheld) == 12
    assert files - withheld <= listed_names("train")
