# SPDX-License-Identifier: Apache-2.0
"""The multi_gpu_*.yaml overlays with two CPU processes: what they compute is what one process computes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from latent_workflows import Bundle, read_table
from PIL import Image

from monai_diffae.support.root_cause import root_cause

BUNDLES = ["brain_slices_diffae", "natural_images_diffae"]
SMALL = {"z_dim": 8, "image_size": 16, "num_workers": 0, "device": "cpu"}
TRAINING = {"max_iterations": 3, "epoch_length": 1, "val_interval": 3, "batch_size": 4, "val_fraction": 0.4}
TRAINING |= {"num_inference_steps": 2, "num_inversion_steps": 2}
LATENT = {"latent_max_iterations": 3, "epoch_length": 1, "val_interval": 3, "latent_batch_size": 4, "batch_size": 3}
LATENT |= {"latent_network_def::hidden_dim": 16, "latent_network_def::num_layers": 3, "val_fraction": 0.4}


def write_volumes(folder: Path) -> None:
    """Balls of tissue of different sizes."""
    random = np.random.default_rng(0)
    distance = np.linalg.norm(np.indices((20, 20, 20)) - 9.5, axis=0)
    for i in range(5):
        values = (distance < 6 + i / 2) * (300 + 50 * random.standard_normal(distance.shape))
        nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([9.0, 9, 9, 1])), folder / f"{i}.nii.gz")


def write_pictures(folder: Path) -> None:
    random = np.random.default_rng(0)
    for i in range(9):
        Image.fromarray(random.integers(0, 256, (20, 20), dtype=np.uint8)).save(folder / f"{i}.png")


class TwoWays:
    """A bundle on a small network and a small data set, run by one process and by two."""

    def __init__(self, name: str, folder: Path) -> None:
        (folder / "data").mkdir()
        options = SMALL | {"dataset_dir": str(folder / "data")}
        if name == "brain_slices_diffae":
            write_volumes(folder / "data")
            options |= {"image_size": 32, "pixdim": 6.0, "num_slices": 3, "slice_range": [0.1, 0.9]}
        else:
            write_pictures(folder / "data")
        self.bundle = Bundle(name, folder, **options).randomize()

    def one(self, *names: str, **options: Any) -> None:
        self.bundle.run(*names, **options).finalize()

    def two(self, *names: str, **options: Any) -> subprocess.CompletedProcess:
        options = self.bundle.options | options | {"bundle_root": str(self.bundle.root)}
        options.pop("device")
        options["config_file"] = [str(self.bundle.configs / f"{name}.yaml") for name in names]
        arguments = Path(self.bundle.options["ckpt_path"]).with_name("arguments.json")
        arguments.write_text(json.dumps(options))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        command += ["-m", "monai.bundle", "run", "--args_file", str(arguments)]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module", params=BUNDLES)
def ways(request, tmp_path_factory) -> TwoWays:
    return TwoWays(request.param, tmp_path_factory.mktemp(request.param))


def assert_same_trajectory(one: Path, two: Path, *columns: str) -> None:
    logs = [read_table(folder / "training_log.csv") for folder in (one, two)]
    assert [row["images_seen"] for row in logs[1]] == [row["images_seen"] for row in logs[0]]
    losses = [[float(row["train_loss"]) for row in log] for log in logs]
    assert len(set(losses[0])) == 3
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    for column in columns:
        assert float(logs[1][-1][column]) == pytest.approx(float(logs[0][-1][column]), rel=1e-3)


def assert_same_weights(one: Path, two: Path, name: str, start: Path) -> None:
    """Up to 1 % of the way from the start: Adam makes rounding visible where a gradient is next to none."""
    files = (one / "models" / name, two / "models" / name, start)
    first, second, before = (torch.load(file, weights_only=True) for file in files)
    way, apart = (
        torch.cat([(first[key] - other[key]).flatten() for key in first]).norm() for other in (before, second)
    )
    assert apart < 0.01 * way


def assert_written_once(one: Path, two: Path) -> None:
    def names(folder: Path) -> list[str]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return sorted(str(p.relative_to(folder)) if "tfevents" not in p.name else "events" for p in files)

    assert names(two) == names(one)


@pytest.mark.slow
def test_two_processes_train_the_autoencoder_as_one_does(ways, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    options = TRAINING | {"init_from": ways.bundle.options["ckpt_path"]}
    ways.one("train", workflow_type="train", output_dir=str(one), **options)
    done = ways.two("train", "multi_gpu_train", workflow_type="train", output_dir=str(two), **options)
    assert done.returncode == 0, done.stderr
    assert_same_trajectory(one, two, "encoder_grad_norm", "val_psnr", "val_noise_loss")
    assert_same_weights(one, two, "model.pt", Path(ways.bundle.options["ckpt_path"]))
    assert_written_once(one, two)
    # A run of two processes goes on with one, and the other way round.
    options |= {"max_iterations": 4}
    ways.one("train", workflow_type="train", output_dir=str(two), **options)
    assert [row["iteration"] for row in read_table(two / "training_log.csv")] == ["1", "2", "3", "4"]


@pytest.mark.slow
@pytest.mark.parametrize("names", [("train_adversarial", "multi_gpu_train"), ("multi_gpu_train", "train_adversarial")])
def test_two_processes_train_the_discriminator_together_as_one_does(ways, tmp_path, names):
    """In both orders of the overlays; without it each process would train a discriminator of its own."""
    networks = {"network": "network_def", "discriminator": "train::discriminator"}
    save = [
        f"$torch.save(@{key}.state_dict(), '{tmp_path}/{name}_' + str(ignite.distributed.get_rank()) + '.pt')"
        for name, key in networks.items()
    ]
    options = TRAINING | {"init_from": ways.bundle.options["ckpt_path"], "adversarial_weight": 0.5}
    options |= {"discriminator_channels": 8, "discriminator_learning_rate": 1e-2}
    parser = ways.bundle.workflow("train", "train_adversarial", workflow_type="train", **options).parser
    torch.save(parser.get_parsed_content("train::discriminator_def").state_dict(), tmp_path / "start.pt")
    start = f"$monai_diffae.checkpoints.load_weights(@train::discriminator_def, '{tmp_path / 'start.pt'}').to(@device)"
    options |= {"train::discriminator": start}
    one, two = tmp_path / "one", tmp_path / "two"
    ways.one("train", "train_adversarial", workflow_type="train", output_dir=str(one), **options)
    options["finalize"] = [*save, "$monai_diffae.support.processes.end()"]
    done = ways.two("train", *names, workflow_type="train", output_dir=str(two), **options)
    assert done.returncode == 0, done.stderr
    checkpoint = torch.load(one / "checkpoints" / "checkpoint_3.pt", weights_only=True)
    before = torch.load(tmp_path / "start.pt", weights_only=True)
    for name in networks:
        states = [torch.load(tmp_path / f"{name}_{rank}.pt", weights_only=True) for rank in range(2)]
        torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
        torch.testing.assert_close(states[0], checkpoint[name], rtol=1e-2, atol=1e-3)
    assert max(float((checkpoint["discriminator"][key] - before[key]).abs().max()) for key in before) > 1e-2
    assert_same_trajectory(one, two)
    logs = [read_table(folder / "training_log.csv") for folder in (one, two)]
    for column in ("reconstruction_loss", "generator_loss", "discriminator_loss"):
        np.testing.assert_allclose(*([float(row[column]) for row in log] for log in logs), rtol=1e-3)


@pytest.mark.slow
def test_two_processes_encode_and_train_the_latent_diffusion_as_one_does(ways, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    network = ways.bundle.workflow("inference", **LATENT).parser.get_parsed_content("latent_network_def")
    torch.save(network.state_dict(), tmp_path / "start.pt")
    start = f"$monai_diffae.checkpoints.load_weights(@latent_network_def.to(@device), {str(tmp_path / 'start.pt')!r})"
    options = LATENT | {"latent_network": start}
    ways.one("inference", "train_latent", workflow_type="train", output_dir=str(one), **options)
    names = ("inference", "train_latent", "multi_gpu_train_latent")
    done = ways.two(*names, workflow_type="train", output_dir=str(two), **options)
    assert done.returncode == 0, done.stderr
    latents = [torch.load(folder / "latents.pt", weights_only=True)["latents"] for folder in (one, two)]
    assert latents[1]["source"].tolist() == latents[0]["source"].tolist()
    torch.testing.assert_close(latents[1]["z_sem"], latents[0]["z_sem"], rtol=1e-4, atol=1e-5)
    assert_same_trajectory(one, two, "val_loss")
    assert_same_weights(one, two, "latent.pt", tmp_path / "start.pt")


@pytest.mark.slow
def test_two_processes_write_one_parquet_table(ways, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")
    names, options = ("inference", "encode"), {"latents_format": "parquet", "batch_size": 2}
    one, two = tmp_path / "one", tmp_path / "two"
    ways.one(*names, output_dir=str(one), **options)
    done = ways.two(*names, "multi_gpu_inference", workflow_type="infer", output_dir=str(two), **options)
    assert done.returncode == 0, done.stderr
    tables = [parquet.read_table(folder / "latents.parquet") for folder in (one, two)]
    assert tables[1].schema == tables[0].schema
    assert tables[1]["file"].to_pylist() == tables[0]["file"].to_pylist()
    np.testing.assert_allclose(*(table["z_0"].to_numpy() for table in tables), rtol=1e-3, atol=1e-4)
    assert_written_once(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("names", [("inference",), ("inference", "encode")])
def test_two_processes_share_a_folder_without_a_slice_twice_or_missing(ways, tmp_path, names):
    one, two = tmp_path / "one", tmp_path / "two"
    options = {"num_inference_steps": 1, "num_inversion_steps": 1, "inversion": "explicit", "progress": False}
    options |= {"batch_size": 2}
    ways.one(*names, output_dir=str(one), **options)
    done = ways.two(*names, "multi_gpu_inference", workflow_type="infer", output_dir=str(two), **options)
    assert done.returncode == 0, done.stderr
    tables = [read_table(folder / "latents.csv") for folder in (one, two)]
    for key in {"file", "slice"} & set(tables[0][0]):
        assert [row[key] for row in tables[1]] == [row[key] for row in tables[0]]
    codes = [[[float(x) for key, x in row.items() if key.startswith("z_")] for row in table] for table in tables]
    np.testing.assert_allclose(codes[1], codes[0], rtol=1e-3, atol=1e-4)
    assert_written_once(one, two)


def test_a_single_process_is_told_how_to_start_several(tmp_path):
    ways = TwoWays("natural_images_diffae", tmp_path)
    with pytest.raises(Exception, match="Failed") as raised:
        ways.one("inference", "multi_gpu_inference", output_dir=str(tmp_path / "out"))
    assert "torchrun --standalone" in str(root_cause(raised.value))
