# SPDX-License-Identifier: Apache-2.0
"""A new bundle is complete, fits MONAI's checks, and trains on a folder of files that nobody prepared."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import torch
import workflows
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image

from monai_diffae.bundles import bundle_folders, new_bundle

REPOSITORY = Path(__file__).parents[2]
BUNDLES = REPOSITORY / "bundles"
NAMES = sorted(path.parent.name for path in BUNDLES.glob("*/bundle.yaml"))
FEW_STEPS = {"num_inference_steps": 2, "num_inversion_steps": 2, "num_workers": 0}


def jpegs(folder: Path, num: int = 12) -> Path:
    """Colour photographs of odd sizes: a bright disc on a slope."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(num):
        rows, columns = np.mgrid[0:44, 0:60] / 60
        disc = (rows - rng.uniform(0.2, 0.5)) ** 2 + (columns - rng.uniform(0.2, 0.8)) ** 2 < rng.uniform(0.01, 0.04)
        picture = np.stack([columns, rows, disc], axis=-1) * 255
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{k:02}.jpg")
    return folder


def niftis(folder: Path, num: int = 4) -> Path:
    """Volumes of 2 mm with a ball in an ellipsoid, a subject each."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(num):
        x, y, z = np.mgrid[-1:1:48j, -1:1:56j, -1:1:40j]
        head = x**2 / 0.8 + y**2 / 0.9 + z**2 / 0.8 < 1
        ball = (x - rng.uniform(-0.3, 0.3)) ** 2 + (y - rng.uniform(-0.3, 0.3)) ** 2 + z**2 < 0.05
        volume = (head * 800.0 - (head & ball) * 500 + head * rng.normal(0, 20, head.shape)).clip(0)
        nib.save(nib.Nifti1Image(volume.astype(np.int16), np.diag([2.0, 2, 2, 1])), folder / f"sub-{k}.nii.gz")
    return folder


def train(bundle: Path, **overrides) -> ConfigWorkflow:
    return workflows.run(bundle, "train", workflow_type="train", **(FEW_STEPS | overrides))


def test_a_new_bundle_trains_on_jpegs_and_what_it_trained_reconstructs(tmp_path):
    bundle = new_bundle("photos", "natural_images_diffae", tmp_path)
    train(bundle, dataset_dir=str(jpegs(tmp_path / "jpegs")), max_iterations=2, batch_size=4)
    weights = torch.load(bundle / "runs" / "train" / "models" / "model.pt", weights_only=True)
    torch.save(weights, bundle / "models" / "model.pt")
    paths = {"dataset_dir": str(tmp_path / "jpegs"), "output_dir": str(tmp_path / "out")}
    workflows.run(bundle, "inference", **paths, inversion="explicit", progress=False, num_inference_steps=2)
    assert len(list((tmp_path / "out").glob("*_reconstruction.png"))) == 12


def test_labelled_volumes_of_a_new_bundle_need_no_masks(tmp_path):
    configs = new_bundle("scans", "brain_slices_diffae", tmp_path) / "configs"
    (tmp_path / "labels.csv").write_text("file,large\ndata/sub-0.nii.gz,1\n")
    config = ConfigParser()
    config.read_config([str(configs / "inference.yaml"), str(configs / "fit_attributes.yaml")])
    config.update({"dataset_dir": str(niftis(tmp_path / "data", num=1)), "labels_file": str(tmp_path / "labels.csv")})
    config["attributes"] = ["large"]
    item = config.get_parsed_content("dataset")[0]
    assert item["image"].shape == (1, 64, 64)
    assert item["large"] == 1


def commands_of(page: Path) -> list[str]:
    """The lines of the blocks of commands."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(("like", "make"), [("brain_slices_diffae", niftis), ("natural_images_diffae", jpegs)])
def test_all_commands_of_its_page_run_one_after_the_other(like, make, tmp_path):
    bundle = new_bundle("my_bundle", like, tmp_path / "bundles")
    data = make(tmp_path / "DATA")
    rows = [f"DATA/{path.name},{k % 2}" for k, path in enumerate(sorted(data.iterdir()))]
    (tmp_path / "LABELS.csv").write_text("\n".join(["file,NAME", *rows]))
    few = {
        " train ": "--max_iterations 20 --batch_size 4 --num_inference_steps 2 --num_inversion_steps 2",
        " train-latent ": "--latent_num_samples 2560 --val_fraction 0.25",
        " sample ": "--num_samples 2 --num_inference_steps 2",
        " reconstruct ": "--num_inference_steps 2 --inversion explicit",
        " edit ": "--num_inference_steps 2 --inversion explicit",
        "inference.yaml": "--num_inference_steps 2 --inversion explicit",
    }
    environment = os.environ | {"B": str(bundle), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands_of(bundle / "docs" / "README.md"):
        fewer = next((options for word, options in few.items() if word in command), "")
        subprocess.run(["sh", "-c", f"{command} {fewer}"], cwd=tmp_path, env=environment, check=True)
    assert {path.name for path in (bundle / "models").iterdir()} == {
        *("model.pt", "encoder.pt", "latent.pt", "statistics.pt", "attributes.pt")
    }
    rows = list(csv.DictReader((bundle / "runs" / "train" / "training_log.csv").open()))
    assert rows[-1]["iteration"] == "20"
    suffix = {niftis: ".nii.gz", jpegs: ".png"}[make]
    for result in ("*_reconstruction", "*_edit", "samples/*"):
        assert list((tmp_path / "OUT").glob(f"{result}{suffix}"))


@pytest.mark.parametrize("like", NAMES)
def test_a_new_bundle_is_complete_and_says_nothing_of_the_data_of_the_other(like, tmp_path):
    bundle = new_bundle("my_bundle", like, tmp_path / "made" / "here")
    assert bundle == tmp_path / "made" / "here" / "my_bundle"
    assert [path.name for path in bundle.parent.iterdir()] == ["my_bundle"]
    found = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*")}
    tracked = {f"configs/{path.name}" for path in (BUNDLES / like / "configs").iterdir() if path.is_file()}
    assert found == {"LICENSE", "bundle.yaml", "configs", "docs", "docs/README.md", "models"} | tracked

    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    jsonschema.validate(metadata, json.loads((REPOSITORY / "tests" / "data" / "meta_schema_20240725.json").read_text()))
    assert "my_bundle" in metadata["name"]
    for config in ("train", "inference"):
        new, old = (yaml.safe_load((f / "configs" / f"{config}.yaml").read_text()) for f in (bundle, BUNDLES / like))
        for same in ("network_def", "z_dim", "image_size", "scheduler"):
            assert new[same] == old[same]
        assert "datasets" not in str(new)
        assert f"bundles/{like}" not in (bundle / "configs" / f"{config}.yaml").read_text()
    own = yaml.safe_load((bundle / "bundle.yaml").read_text())
    assert set(own) <= {"kind", "metadata", "blocks", "both", "train", "train_latent", "inference", "sample"}


def test_a_new_bundle_can_be_made_like_a_new_one(tmp_path):
    first = new_bundle("first", NAMES[0], tmp_path)
    text = (first / "bundle.yaml").read_text()
    (first / "bundle.yaml").write_text(text + "\nboth:\n  z_dim: 17\n")
    second = new_bundle("second", first, tmp_path)
    assert yaml.safe_load((second / "configs" / "train.yaml").read_text())["z_dim"] == 17


@pytest.mark.parametrize("name", ["", "my bundle", "../up", "1st", "a/b", ".hidden", "neu\n", "größe"])
def test_a_bad_name_is_refused_and_nothing_is_written(name, tmp_path):
    with pytest.raises(ValueError, match="name should be letters, digits"):
        new_bundle(name, NAMES[0], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_stays(tmp_path):
    (tmp_path / "mine").write_text("my file")
    with pytest.raises(FileExistsError, match=r"mine exists already; choose another name or output_dir"):
        new_bundle("mine", NAMES[0], tmp_path)
    assert (tmp_path / "mine").read_text() == "my file"


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ("brain_slice_diffae", r"no bundle 'brain_slice_diffae': neither .* Did you mean brain_slices_diffae\?"),
        ("/nowhere/else", r"no bundle '/nowhere/else': neither a folder with configs/metadata\.json nor one of brain"),
    ],
)
def test_a_bundle_that_is_not_found_is_named_with_those_that_are(like, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        new_bundle("mine", like, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_is_not_built_of_parts_cannot_be_followed(tmp_path):
    (tmp_path / "zoo" / "configs").mkdir(parents=True)
    (tmp_path / "zoo" / "configs" / "metadata.json").write_text("{}")
    with pytest.raises(ValueError, match=r"zoo has no bundle\.yaml"):
        new_bundle("mine", tmp_path / "zoo", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["zoo"]


def test_bundles_are_found_by_name():
    assert set(NAMES) <= set(bundle_folders())
