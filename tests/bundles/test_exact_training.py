# SPDX-License-Identifier: Apache-2.0
"""The same command makes the same weights, to the bit on a CPU, also if it is killed and given again."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow
from workflows import initialized, write_faces

BUNDLE = Path(__file__).parents[2] / "bundles" / "natural_images_diffae"
SMALL = {"image_size": 16, "z_dim": 8, "batch_size": 2, "num_workers": 0, "val_fraction": 0.25}
SMALL |= {"num_inference_steps": 1, "num_inversion_steps": 1, "flip_prob": 0.5, "device": "$torch.device('cpu')"}
SMALL |= {"network_def::encoder::channels": [8, 16, 16, 16], "network_def::decoder::channels": [8, 16, 16]}
SMALL |= {f"network_def::{part}::norm_num_groups": 4 for part in ("encoder", "decoder")}
SMALL |= {"network_def::decoder::dropout": 0.2, "max_iterations": 5, "epoch_length": 2, "val_interval": 5}
LATENT = {"latent_max_iterations": 5, "latent_batch_size": 4, "latent_network_def::hidden_dim": 16}
LATENT |= {"latent_network_def::num_layers": 3, "latent_network_def::dropout": 0.2}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces"), 8)


def workflow(faces: Path, folder: Path, *names: str, **options) -> ConfigWorkflow:
    paths = {"dataset_dir": str(faces), "output_dir": str(folder)}
    return initialized(BUNDLE, *names, workflow_type="train", **(paths | SMALL | options))


def train(faces: Path, folder: Path, *names: str, **options) -> ConfigWorkflow:
    done = workflow(faces, folder, *(names or ("train",)), **options)
    done.run()
    return done


def weights(folder: Path, name: str = "model.pt") -> dict[str, torch.Tensor]:
    return torch.load(folder / "models" / name, weights_only=True)


def checkpoint(folder: Path, number: int) -> dict:
    return torch.load(folder / "checkpoints" / f"checkpoint_{number}.pt", weights_only=True)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "training_log.csv", newline="") as f:
        return list(csv.DictReader(f))


@pytest.fixture(scope="module")
def whole(faces, tmp_path_factory) -> Path:
    """A training of 5 iterations, in epochs of 2."""
    folder = tmp_path_factory.mktemp("whole")
    done = train(faces, folder)
    assert done.parser.get_parsed_content("train::optimizer").param_groups[0]["lr"] == 0
    return folder


def test_a_training_runs_the_iterations_asked_for_and_ends_with_its_schedule(whole):
    assert [row["iteration"] for row in rows(whole)] == ["2", "4", "5"]
    assert [row["images_seen"] for row in rows(whole)] == ["4", "8", "10"]
    assert [bool(row["val_psnr"]) for row in rows(whole)] == [False, False, True]
    names = sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert names == ["checkpoint_4.pt", "checkpoint_5.pt", "run.json"]


def test_the_same_command_makes_the_same_weights_and_leaves_the_global_state(faces, whole, tmp_path):
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    again = workflow(faces, tmp_path, "train")
    assert torch.equal(torch.rand(3), expected)
    again.run()
    torch.testing.assert_close(checkpoint(tmp_path, 5), checkpoint(whole, 5), rtol=0, atol=0)
    torch.testing.assert_close(weights(tmp_path), weights(whole), rtol=0, atol=0)


def test_another_seed_starts_from_other_weights(faces, tmp_path):
    first, same, other = (workflow(faces, tmp_path, "train", seed=seed).network_def for seed in (0, 0, 1))
    states = [network.encoder.conv_in.weight for network in (first, same, other)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


KILL = (
    "$@train::trainer.add_event_handler(ignite.engine.Events.ITERATION_COMPLETED(once={}), "
    "lambda: os.kill(os.getpid(), 9))"
)


def test_a_training_that_is_killed_again_and_again_ends_in_the_same_weights(faces, whole, tmp_path):
    """Before its first checkpoint, and after it."""
    out, arguments = tmp_path / "out", tmp_path / "arguments.json"
    for last in (1, 3):
        overlay = tmp_path / "kill.json"
        overlay.write_text(json.dumps({"+initialize": [KILL.format(last)]}))
        options = SMALL | {"dataset_dir": str(faces), "output_dir": str(out), "bundle_root": str(BUNDLE)}
        options |= {"config_file": [str(BUNDLE / "configs" / "train.yaml"), str(overlay)]}
        arguments.write_text(json.dumps(options))
        command = [sys.executable, "-m", "monai.bundle", "run", "--args_file", str(arguments)]
        environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert [path.name for path in (out / "checkpoints").glob("*.pt")] == ["checkpoint_2.pt"][: last // 2]
    train(faces, out)
    assert [row["iteration"] for row in rows(out)] == ["2", "4", "5"]
    torch.testing.assert_close(checkpoint(out, 5), checkpoint(whole, 5), rtol=0, atol=0)
    torch.testing.assert_close(weights(out), weights(whole), rtol=0, atol=0)


def test_adversarial_training_is_as_exact(faces, tmp_path):
    options = {"discriminator_channels": 8, "discriminator_layers": 1}
    for name, lengths in (("whole", [5]), ("parts", [3, 5])):
        for length in lengths:  # the schedule of the learning rate is that of the whole
            train(faces, tmp_path / name, "train", "train_adversarial", max_iterations=length, **options)
            options["lr_scheduler::t_total"] = 5
    first, second = (checkpoint(tmp_path / name, 5) for name in ("whole", "parts"))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert [row["iteration"] for row in rows(tmp_path / "parts")] == ["2", "3", "4", "5"]


def test_the_latent_diffusion_is_trained_as_exactly(faces, whole, tmp_path):
    options = LATENT | {"ckpt_path": str(whole / "models" / "model.pt"), "precision": "float32"}
    for name, lengths in (("whole", [5]), ("parts", [3, 5])):
        for length in lengths:
            options["latent_max_iterations"] = length
            train(faces, tmp_path / name, "inference", "train_latent", **options)
    first, second = (weights(tmp_path / name, "latent.pt") for name in ("whole", "parts"))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert [row["iteration"] for row in rows(tmp_path / "whole")] == ["2", "4", "5"]
    assert [row["iteration"] for row in rows(tmp_path / "parts")] == ["2", "3", "4", "5"]
