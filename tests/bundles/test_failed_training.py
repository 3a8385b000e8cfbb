# SPDX-License-Identifier: Apache-2.0
"""A training that diverges ends with an error and saves nothing; weights that are not finite are refused."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from latent_workflows import Bundle, root_cause
from monai.bundle import ConfigWorkflow
from workflows import write_faces

BUNDLES = Path(__file__).parents[2] / "bundles"
CONFIGS = BUNDLES / "natural_images_diffae" / "configs"
SMALL = {"image_size": 16, "z_dim": 8, "num_workers": 0, "device": "$torch.device('cpu')"}
SMALL |= {"network_def::encoder::channels": [8, 16, 16, 16], "network_def::decoder::channels": [8, 16, 16]}
SMALL |= {f"network_def::{part}::norm_num_groups": 4 for part in ("encoder", "decoder")}
TRAINING = {"batch_size": 2, "val_fraction": 0.25, "num_inference_steps": 1, "num_inversion_steps": 1}
DIVERGING = {"learning_rate": 1e30, "max_grad_norm": 1e30, "max_iterations": 6, "epoch_length": 4, "val_interval": 1}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces"), 8)


def test_a_training_that_diverges_ends_in_words_and_with_an_exit_code(faces, tmp_path):
    options = SMALL | TRAINING | DIVERGING | {"dataset_dir": str(faces), "output_dir": str(tmp_path / "out")}
    options |= {"bundle_root": str(CONFIGS.parent), "config_file": str(CONFIGS / "train.yaml")}
    (tmp_path / "arguments.json").write_text(json.dumps(options))
    command = [sys.executable, "-m", "monai.bundle", "run", "--args_file", str(tmp_path / "arguments.json")]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("FloatingPointError: Training stopped: the loss is ")
    assert "at iteration 2 (batch: " in last
    assert last.count(f"{faces}/face") == 2
    assert "There is no checkpoint yet." in last
    assert list((tmp_path / "out").rglob("*.pt")) == []
    assert not (tmp_path / "out" / "training_log.csv").exists()
    assert "0.0000" not in done.stderr + done.stdout


@pytest.mark.parametrize("names", [("train",), ("train", "train_adversarial")])
def test_the_error_names_the_last_good_checkpoint_and_what_was_there_stays(faces, tmp_path, names):
    def workflow(**options) -> ConfigWorkflow:
        files = [str(CONFIGS / f"{name}.yaml") for name in names]
        options = (
            SMALL | TRAINING | {"dataset_dir": str(faces), "output_dir": str(tmp_path), "epoch_length": 2} | options
        )
        workflow = ConfigWorkflow(
            files, workflow_type="train", logging_file=False, bundle_root=str(CONFIGS.parent), **options
        )
        workflow.initialize()
        return workflow

    workflow(max_iterations=2).run()
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.pt")}
    assert {path.name for path in files} == {"checkpoint_2.pt", "model.pt", "encoder.pt"}
    log = (tmp_path / "training_log.csv").read_text()
    with pytest.raises(Exception, match="Failed") as raised:
        workflow(max_iterations=6, learning_rate=1e30, max_grad_norm=1e30).run()
    assert f"The last good checkpoint is {tmp_path / 'checkpoints' / 'checkpoint_2.pt'}." in root_cause(raised.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.pt")} == files
    assert (tmp_path / "training_log.csv").read_text() == log


@pytest.fixture(scope="module")
def bundle(faces, tmp_path_factory) -> Bundle:
    options = SMALL | {"device": torch.device("cpu"), "dataset_dir": str(faces)}
    return Bundle("natural_images_diffae", tmp_path_factory.mktemp("weights"), **options)


def spoilt(path: Path, folder: Path) -> str:
    state = torch.load(path, weights_only=True)
    state[list(state)[1]].view(-1)[0] = math.nan
    torch.save(state, folder / "spoilt.pt")
    return str(folder / "spoilt.pt")


@pytest.mark.parametrize(
    ("names", "key"),
    [(("inference",), "ckpt_path"), (("inference", "encode"), "ckpt_path"), (("train",), "init_from")],
)
def test_weights_that_are_not_finite_are_refused_in_a_sentence(bundle, tmp_path, names, key):
    file = spoilt(Path(bundle.options["ckpt_path"]), tmp_path)
    kind = "train" if names == ("train",) else "infer"
    with pytest.raises(Exception, match="Failed") as raised:
        bundle.run(*names, workflow_type=kind, output_dir=str(tmp_path / "out"), **{key: file})
    message = root_cause(raised.value)
    assert file in message
    assert "are of a training that failed: 1 of " in message
    assert list((tmp_path / "out").rglob("*.png")) == []


def test_the_latent_diffusion_stops_too_and_names_the_files(bundle, tmp_path):
    with pytest.raises(Exception, match="Failed") as raised:
        bundle.train(tmp_path, latent_max_iterations=8, max_grad_norm=1e30, **{"latent_optimizer_def::lr": 1e30})
    message = root_cause(raised.value)
    assert "at iteration " in message
    assert bundle.options["dataset_dir"] in message
    assert not (tmp_path / "models").exists()
