# SPDX-License-Identifier: Apache-2.0
"""precision, compile and batch_size of both bundles, from training to inference."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from latent_workflows import Bundle, read_table
from PIL import Image

SMALL = {"network_def::encoder::attention_levels": False, "network_def::decoder::attention_levels": False}
SMALL |= {"network_def::decoder::channels": [8, 8, 8], "z_dim": 8}
TRAINING = {"max_iterations": 2, "epoch_length": 2, "val_interval": 1, "num_workers": 0, "val_fraction": 0.5}
TRAINING |= {"num_inference_steps": 2, "num_inversion_steps": 2, "batch_size": 2}
INFERENCE = {"num_inference_steps": 2, "progress": False}


def write_data(name: str, folder: Path) -> None:
    random = np.random.default_rng(0)
    for i in range(4):
        if name == "natural_images_diffae":
            Image.fromarray(random.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / f"{i}.png")
        else:
            values = random.integers(1, 256, (64, 64, 8)).astype(np.float32)
            nib.save(nib.Nifti1Image(values, np.diag([3.0, 3, 3, 1])), folder / f"{i}.nii.gz")


@pytest.fixture(scope="module", params=["brain_slices_diffae", "natural_images_diffae"])
def bundle(request, tmp_path_factory, device) -> Bundle:
    folder = tmp_path_factory.mktemp("data")
    write_data(request.param, folder)
    levels = 5 if request.param == "brain_slices_diffae" else 4
    options = SMALL | {"network_def::encoder::channels": [8] * levels}
    return Bundle(request.param, folder, dataset_dir=str(folder), device=device, **options)


def trained(bundle: Bundle, folder: Path, **options) -> dict:
    """The last checkpoint of a short training."""
    bundle.run("train", workflow_type="train", output_dir=str(folder), **(TRAINING | options))
    (path,) = (folder / "checkpoints").glob("*.pt")
    return torch.load(path, weights_only=True)


def reconstructed(bundle: Bundle, folder: Path, **options) -> list[dict]:
    bundle.run("inference", output_dir=str(folder), **(INFERENCE | options))
    assert any(folder.rglob("*_reconstruction.*"))
    return read_table(folder / "latents.csv")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.filterwarnings("ignore:A tolerance of:UserWarning")
def test_one_precision_serves_training_and_inference(bundle, tmp_path, precision):
    checkpoint = trained(bundle, tmp_path / "train", precision=precision)
    assert ("scaler" in checkpoint) == (precision == "float16")
    weights = {"ckpt_path": str(tmp_path / "train" / "models" / "model.pt")}
    lower, full = (reconstructed(bundle, tmp_path / p, precision=p, **weights) for p in (precision, "float32"))
    columns = [key for key in full[0] if key.startswith("z_")]
    codes, expected = (torch.tensor([[float(row[key]) for key in columns] for row in rows]) for rows in (lower, full))
    assert 0 < (codes - expected).norm() / expected.norm() < 0.05


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("asked", [None, torch.channels_last, torch.contiguous_format])
def test_training_has_the_memory_format_that_suits_device_and_precision_or_is_asked_for(
    bundle, asked, precision, device
):
    options = {} if asked is None else {"memory_format": asked}
    workflow = bundle.workflow("train", workflow_type="train", precision=precision, **(TRAINING | options))
    weight = workflow.parser.get_parsed_content("network").decoder.up_blocks[0][0].conv_in.weight
    on_cpu = torch.device(device).type == "cpu"
    expected = asked or (torch.contiguous_format if on_cpu and precision == "bfloat16" else torch.channels_last)
    for memory_format in (torch.channels_last, torch.contiguous_format):
        assert weight.is_contiguous(memory_format=memory_format) == (memory_format == expected)


@pytest.mark.parametrize("bundle", ["natural_images_diffae"], indirect=True)
def test_wide_networks_are_trained_in_contiguous_memory_on_processors(bundle, device):
    parser = bundle.workflow("train", "presets/celeba64", workflow_type="train", **TRAINING).parser
    expected = torch.contiguous_format if torch.device(device).type == "cpu" else torch.channels_last
    assert parser.get_parsed_content("memory_format") == expected


def test_the_latent_stage_has_the_precision_and_encodes_anew_for_another(bundle, tmp_path, caplog):
    caplog.set_level("INFO")
    for precision in ("float32", "float16"):
        bundle.train(tmp_path, val_fraction=0.5, precision=precision)
    assert "other settings" in caplog.text
    assert any("scaler" in torch.load(path, weights_only=True) for path in tmp_path.rglob("checkpoint_*.pt"))


@pytest.mark.parametrize(("batch_size", "images"), [("auto", 4), (3, 3)])
def test_images_of_many_files_share_batches_of_a_size_that_is_found_or_given(bundle, tmp_path, batch_size, images):
    options = INFERENCE | {"batch_size": batch_size, "output_dir": str(tmp_path)}
    if bundle.root.name == "brain_slices_diffae":
        options["num_slices"] = 1
    workflow = bundle.workflow("inference", **options)
    sizes = []
    network = workflow.parser.get_parsed_content("network")
    network.encoder.register_forward_hook(lambda _, arguments, __: sizes.append(len(arguments[0])))
    workflow.run()
    assert max(sizes) == images
    assert sum(sizes) == 4


@pytest.mark.slow
def test_compiled_training_and_inference_are_those_without(bundle, tmp_path):
    """On two cores compilation takes minutes."""
    names = {}
    for compiled in (False, True):
        checkpoint = trained(bundle, tmp_path / f"train_{compiled}", compile=compiled)
        weights = torch.load(tmp_path / f"train_{compiled}" / "models" / "model.pt", weights_only=True)
        names[compiled] = [*checkpoint["network"], *checkpoint["ema"], *weights]
    assert names[True] == names[False]
    rows = [
        reconstructed(
            bundle,
            tmp_path / f"out_{compiled}",
            compile=compiled,
            ckpt_path=str(tmp_path / "train_True" / "models" / "model.pt"),
        )
        for compiled in (False, True)
    ]
    for eager, fast in zip(*rows):
        assert float(fast["z_0"]) == pytest.approx(float(eager["z_0"]), abs=1e-4)
