# SPDX-License-Identifier: Apache-2.0
"""train_autoencoder.yaml and latent_space.yaml: a compression model of volumes, and a diffusion in its latents."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from latent_workflows import Bundle, read_table
from workflows import write_direction

from monai_diffae.support.root_cause import root_cause

COUNT, SHAPE = 4, (18, 15, 16)
COMMON = {"image_size": 16, "z_dim": 8, "pixdim": 9.0, "stage_1_def::channels": [8, 8, 16]}
COMMON |= {"stage_1_def::norm_num_groups": 4, "batch_size": 2, "num_inference_steps": 2}
TRAINING = {"max_iterations": 2, "epoch_length": 1, "val_interval": 2, "num_workers": 0, "val_fraction": 0.25}
TRAINING |= {"accumulation_steps": 1, "num_inversion_steps": 2}
NETWORK = "network_def::autoencoder"
SMALL = {f"{NETWORK}::{part}::norm_num_groups": 4 for part in ("encoder", "decoder")}
SMALL |= {f"{NETWORK}::encoder::channels": [8, 8, 8], f"{NETWORK}::decoder::channels": [8, 8]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    folder = tmp_path_factory.mktemp("volumes")
    random = np.random.default_rng(0)
    distance = np.linalg.norm(np.indices(SHAPE) - np.array([8.5, 7, 7.5])[:, None, None, None], axis=0)
    for i in range(COUNT):
        values = (distance < 5 + i / 2) * (300 + random.integers(0, 99, SHAPE))
        nib.save(nib.Nifti1Image(values.astype(np.int16), np.diag([9.0, 9, 9, 1])), folder / f"sub-{i}.nii.gz")
    return Bundle("brain_slices_diffae", folder, dataset_dir=str(folder))


@pytest.fixture(scope="module")
def stage_1(bundle, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stage_1") / "run"
    options = COMMON | TRAINING | {"output_dir": str(folder)}
    bundle.run("train", "volumes", "train_autoencoder", workflow_type="train", **options)
    (row,) = [row for row in read_table(folder / "training_log.csv") if row["val_psnr"]]
    assert float(row["val_psnr"]) > 0
    assert 0 < float(row["train_loss"]) < 2
    assert float(row["discriminator_loss"]) > 0
    return folder / "models" / "model.pt"


def train(bundle: Bundle, folder: Path, stage_1: Path, **options):
    options = COMMON | TRAINING | SMALL | {"output_dir": str(folder), "stage_1_path": str(stage_1)} | options
    return bundle.run("train", "volumes", "latent_space", workflow_type="train", **options)


@pytest.fixture(scope="module")
def trained(bundle, stage_1, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stage_2") / "run"
    train(bundle, folder, stage_1)
    return folder


def test_weights_hold_the_compression_model_and_the_scale_of_its_latents(trained, stage_1):
    weights = torch.load(trained / "models" / "model.pt", weights_only=True)
    for name, value in torch.load(stage_1, weights_only=True).items():
        torch.testing.assert_close(weights[f"stage_1.model.{name}"], value, rtol=0, atol=0)
    unscaled = torch.load(trained / "latents_of_images.pt", weights_only=True)["latents"]["z_sem"]
    assert unscaled.shape == (3, 4, 4, 4, 4)
    assert float(weights["stage_1.scale_factor"]) == pytest.approx(1 / float(unscaled.std()), rel=1e-5)
    assert float(read_table(trained / "training_log.csv")[-1]["val_psnr"]) > 0


def test_training_in_latents_goes_on_to_the_same_weights(bundle, trained, stage_1, tmp_path):
    train(bundle, tmp_path, stage_1, max_iterations=1, warmup_iterations=1)
    kept = (tmp_path / "latents_of_images.pt").stat().st_mtime_ns
    train(bundle, tmp_path, stage_1)
    assert (tmp_path / "latents_of_images.pt").stat().st_mtime_ns == kept
    assert len(read_table(tmp_path / "training_log.csv")) == 2


def test_exchanged_compression_model_is_refused_when_training_goes_on(bundle, trained, stage_1, tmp_path):
    train(bundle, tmp_path / "run", stage_1, max_iterations=1, warmup_iterations=1)
    other = {name: value + 0.1 for name, value in torch.load(stage_1, weights_only=True).items()}
    torch.save(other, tmp_path / "other.pt")
    with pytest.raises(RuntimeError) as error:
        train(bundle, tmp_path / "run", tmp_path / "other.pt")
    assert "trained on latents of another compression model than" in str(root_cause(error.value))


def test_augmented_images_are_compressed_in_every_step(bundle, stage_1, tmp_path):
    encoder = {f"{NETWORK}::encoder::channels": [8], f"{NETWORK}::encoder::attention_levels": [False]}
    train(bundle, tmp_path, stage_1, cache_latents=False, encoder_input="latent", **encoder)
    assert not (tmp_path / "latents_of_images.pt").exists()
    assert float(read_table(tmp_path / "training_log.csv")[-1]["train_loss"]) > 0


@pytest.mark.parametrize("augmentation", [{"flip_prob": 0.5}, {"zoom_range": [0.9, 1.1]}], ids=["flips", "zooms"])
def test_latents_of_augmented_images_are_not_kept(bundle, stage_1, tmp_path, augmentation):
    with pytest.raises(RuntimeError) as error:
        train(bundle, tmp_path / "run", stage_1, **augmentation)
    assert "set cache_latents to false" in str(root_cause(error.value))
    assert not (tmp_path / "run" / "latents_of_images.pt").exists()


@pytest.fixture(scope="module")
def attributes_path(tmp_path_factory) -> str:
    return write_direction(tmp_path_factory.mktemp("attributes") / "attributes.pt", "size", 8)


@pytest.mark.parametrize(
    ("overlays", "options", "written"),
    [
        ((), {"noise_losses": True}, "sub-0_reconstruction.nii.gz"),
        (("manipulate",), {"attribute": "size", "amount": 2.0}, "sub-0_edit.nii.gz"),
        (("variations",), {"num_variations": 2}, "sub-0_variations.nii.gz"),
        (("interpolate",), {"num_points": 2}, "sub-0_to_sub-1_interpolation.nii.gz"),
        (("swap",), {}, "sub-0_to_sub-1_swap.nii.gz"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and value else None,
)
def test_workflows_run_in_the_latent_space(bundle, trained, attributes_path, tmp_path, overlays, options, written):
    options = COMMON | SMALL | options | {"inversion": "explicit", "progress": False, "output_dir": str(tmp_path)}
    options |= {"ckpt_path": str(trained / "models" / "model.pt"), "attributes_path": attributes_path}
    bundle.run("inference", "volumes", "latent_space", *overlays, **options)
    result = nib.load(tmp_path / written)
    assert np.isfinite(result.get_fdata()).all()
    columns = read_table(tmp_path / "latents.csv")[0]
    assert ("noise_loss_50" in columns) == ("noise_losses" in options)
    if not overlays or overlays == ("manipulate",):
        assert result.shape == SHAPE
        np.testing.assert_array_equal(result.affine, np.diag([9.0, 9, 9, 1]))
