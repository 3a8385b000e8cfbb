# SPDX-License-Identifier: Apache-2.0
"""The brain bundle as its users run it: every workflow, from another folder, on shipped weights and on other data."""

import csv
import functools
import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import workflows
import yaml
from in_process import run_module
from monai.bundle import ConfigParser

from monai_diffae.semantics import AttributeDirections
from monai_diffae.support.pseudonyms import Pseudonyms

REPOSITORY = Path(__file__).parents[2]
BUNDLE = REPOSITORY / "bundles" / "brain_slices_diffae"
CONFIGS = BUNDLE / "configs"
FEW_STEPS = {"num_inference_steps": 2, "num_inversion_steps": 2, "num_slices": 2, "progress": False}


def config_files(*names: str) -> list[str]:
    return [str(CONFIGS / f"{name}.yaml") for name in names]


run = functools.partial(workflows.run, BUNDLE)


@pytest.fixture(scope="module")
def generated_data(generated_brains) -> Path:
    return generated_brains


@pytest.fixture(scope="module")
def one_volume(tmp_path_factory, generated_brains) -> Path:
    folder = tmp_path_factory.mktemp("one")
    shutil.copy(generated_brains / "images" / "sub-0000.nii.gz", folder)
    return folder


@pytest.fixture(scope="module")
def other_data(tmp_path_factory, generated_data) -> Path:
    """A folder that the generator did not lay out: subfolders, one name twice, flipped and permuted axes, no masks."""
    folder = tmp_path_factory.mktemp("other")
    sources = sorted((generated_data / "images").iterdir())
    for subject, source, axes in (("a", sources[0], "LPS"), ("b", sources[1], "ASR")):
        image = nib.load(source)
        to_axes = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
        )
        turned = image.as_reoriented(to_axes)
        (folder / subject).mkdir()
        data = np.asarray(turned.dataobj).astype(np.float32) * 0.37
        nib.save(nib.Nifti1Image(data, turned.affine), folder / subject / "T1.nii")
    return folder


@pytest.fixture(scope="module")
def attributes_file(tmp_path_factory, generated_data) -> Path:
    folder = tmp_path_factory.mktemp("attributes")
    run("inference", "fit_attributes", dataset_dir=str(generated_data), output_dir=str(folder))
    return folder / "attributes.pt"


def read_table(path: Path) -> list[dict]:
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def read_metrics(folder: Path) -> dict[str, float]:
    with open(folder / "metrics.csv", newline="") as f:
        return {name: float(value) for name, value in csv.reader(f)}


def test_reconstruction_writes_volumes_that_lie_where_the_source_lies(other_data, tmp_path, device):
    run("inference", dataset_dir=str(other_data), output_dir=str(tmp_path), device=device, **FEW_STEPS)
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.nii.gz")} == {
        "a/T1_reconstruction.nii.gz",
        "b/T1_reconstruction.nii.gz",
    }
    rows = read_table(tmp_path / "latents.csv")
    assert [row["file"] for row in rows] == ["a/T1.nii", "a/T1.nii", "b/T1.nii", "b/T1.nii"]
    assert [row["subject"] for row in rows] == [Pseudonyms(tmp_path)(subject) for subject in "aabb"]
    names = ["file", "subject", "slice", "x_mm", "y_mm", "z_mm", "typicality", "x_T_evaluations", "x_T_residual"]
    assert list(rows[0])[: len(names)] == names
    assert len(rows[0]) == len(names) + 128
    assert all(2 <= int(row["x_T_evaluations"]) <= 20 and float(row["x_T_residual"]) >= 0 for row in rows)
    assert all(0 < float(row["typicality"]) <= 100 for row in rows)
    assert (tmp_path / "figures" / "reconstruction.png").stat().st_size > 10_000
    assert set(read_metrics(tmp_path)) == {"psnr", "ssim"}

    for name in ("a", "b"):
        source = nib.load(other_data / name / "T1.nii")
        result = nib.load(tmp_path / name / "T1_reconstruction.nii.gz")
        np.testing.assert_array_equal(result.affine, source.affine)
        assert result.shape == source.shape
        assert result.get_data_dtype() == source.get_data_dtype()
        changed = result.get_fdata() != source.get_fdata()
        # The slices are axial ones of 3 mm where the table says they are; voxels have 4 mm.
        heights = nib.affines.apply_affine(source.affine, np.argwhere(changed))[:, 2]
        centers = [float(row["z_mm"]) for row in rows if row["file"] == f"{name}/T1.nii"]
        assert 0.01 < changed.mean() < 0.1
        assert min(abs(height - c) for height in np.unique(heights) for c in centers) <= 1.6
        assert np.abs(np.unique(heights)[:, None] - centers).min(axis=1).max() <= 1.6


def test_encoded_x_T_reconstructs_better_than_a_random_one_on_shipped_weights(one_volume, tmp_path, device):
    options = FEW_STEPS | {"num_inference_steps": 10, "num_inversion_steps": 10, "num_slices": 1}
    run(
        "inference",
        "compare_x_T",
        dataset_dir=str(one_volume),
        output_dir=str(tmp_path),
        device=device,
        **options,
    )
    metrics = read_metrics(tmp_path)
    assert metrics["psnr"] > metrics["psnr_random_x_T"] + 3
    assert metrics["psnr_random_x_T"] > 15


def test_exact_inversion_is_the_default_and_keeps_its_tolerance(one_volume, tmp_path, device):
    options = {"num_slices": 1, "num_inference_steps": 10, "progress": False, "device": device}
    psnr = {}
    for inversion, given in (("exact", {}), ("explicit", {"inversion": "explicit"})):
        folder = tmp_path / inversion
        run("inference", dataset_dir=str(one_volume), output_dir=str(folder), tolerance=5e-3, **options, **given)
        rows = read_table(folder / "latents.csv")
        psnr[inversion] = read_metrics(folder)["psnr"]
        if inversion == "explicit":
            assert {(row["x_T_evaluations"], row["x_T_residual"]) for row in rows} == {("10", "nan")}
        else:
            assert all(float(row["x_T_residual"]) <= 5e-3 for row in rows)
    assert psnr["exact"] > 50
    assert psnr["exact"] > psnr["explicit"] + 10


def test_attributes_are_fitted_from_masks_and_labels(attributes_file):
    directions = AttributeDirections.load(attributes_file)
    assert directions.names == ["lesion", "lesion_left", "lesion_right"]
    assert directions.weight.shape == (3, 128)


@pytest.mark.parametrize("amount", [0.3, [-0.3, 0.3]])
def test_manipulation_writes_edits_and_their_differences(generated_data, attributes_file, tmp_path, amount):
    run(
        "inference",
        "manipulate",
        dataset_dir=str(generated_data),
        output_dir=str(tmp_path),
        attributes_path=str(attributes_file),
        amount=amount,
        **FEW_STEPS,
    )
    source = nib.load(generated_data / "images" / "sub-0000.nii.gz")
    found = {
        kind: nib.load(tmp_path / "images" / f"sub-0000_{kind}.nii.gz")
        for kind in ("reconstruction", "edit", "difference")
    }
    series = (2,) if isinstance(amount, list) else ()
    assert found["reconstruction"].shape == source.shape
    assert found["edit"].shape == found["difference"].shape == source.shape + series
    assert found["edit"].get_data_dtype() == source.get_data_dtype() == np.uint16
    intensities = source.get_fdata()[..., None] if series else source.get_fdata()
    difference = found["difference"].get_fdata()
    assert np.abs(difference).max() > 1
    np.testing.assert_allclose(found["edit"].get_fdata(), np.maximum(intensities + difference, 0), atol=0.51)
    assert (tmp_path / "figures" / "manipulation.png").exists()


def test_training_runs_and_goes_on_where_it_stopped(generated_data, tmp_path):
    options = {"dataset_dir": str(generated_data), "output_dir": str(tmp_path), "batch_size": 2, "num_workers": 0}
    options |= {"num_slices": 3, "val_num_slices": 1, "num_inference_steps": 2, "num_inversion_steps": 2}
    run("train", workflow_type="train", max_iterations=2, epoch_length=1, val_interval=2, **options)
    assert [row["iteration"] for row in read_table(tmp_path / "training_log.csv")] == ["1", "2"]
    workflow = run("train", workflow_type="train", max_iterations=3, epoch_length=1, val_interval=2, **options)
    rows = read_table(tmp_path / "training_log.csv")
    assert [row["iteration"] for row in rows] == ["1", "2", "3"]
    assert float(rows[1]["val_psnr"]) > 0
    assert float(rows[1]["val_noise_loss"]) > 0
    assert float(rows[1]["val_noise_semantic_gap"]) > 0
    assert float(rows[0]["encoder_grad_norm"]) == 0  # the decoder's last layer starts at zero
    assert float(rows[2]["encoder_grad_norm"]) > 0
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    network = workflow.network_def
    network.load_state_dict(weights)
    assert list(tmp_path.glob("events.out.tfevents*"))
    # Both parts have learnt.
    initial = ConfigParser(workflow.parser.get()).get_parsed_content("network_def")
    assert {name.split(".")[0] for name, value in initial.state_dict().items() if not weights[name].equal(value)} == {
        "encoder",
        "decoder",
    }


def test_training_starts_from_given_weights(generated_data, tmp_path):
    options = {"dataset_dir": str(generated_data), "batch_size": 2, "num_workers": 0, "num_slices": 1}
    options |= {"learning_rate": 0.0, "max_iterations": 1, "output_dir": str(tmp_path / "run")}
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "train.yaml"))
    given = parser.get_parsed_content("network_def").state_dict()
    torch.save(given, tmp_path / "given.pt")
    run("train", workflow_type="train", init_from=str(tmp_path / "given.pt"), **options)
    trained = torch.load(tmp_path / "run" / "models" / "model.pt", weights_only=True)
    torch.testing.assert_close(trained, given)  # the moving average of equal weights is rounded


def test_command_line_runs_from_another_folder_and_ends_an_error_with_its_cause(other_data, tmp_path):
    command = ["monai.bundle", "run", "--bundle_root", str(BUNDLE)]
    command += ["--config_file", str(config_files("inference", "variations")), "--num_variations", "2"]
    options = [word for name, value in FEW_STEPS.items() for word in (f"--{name}", str(value))]
    good = [*command, *options, "--dataset_dir", str(other_data), "--output_dir", str(tmp_path / "out")]
    done = run_module(*good, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "figures" / "variations.png").exists()

    bad = [*command, "--dataset_dir", str(tmp_path / "nowhere"), "--output_dir", str(tmp_path / "out2")]
    failed = run_module(*bad, cwd=tmp_path)
    assert failed.returncode != 0
    last_line = failed.stderr.strip().splitlines()[-1]
    assert last_line.startswith("ValueError: No NIfTI, DICOM or other volumes")
    assert "nowhere" in last_line
    assert not (tmp_path / "out2").exists()


def test_training_and_inference_scale_intensities_alike():
    train, inference = (yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) for name in ("train", "inference"))
    scaling = [
        [t for t in transforms if isinstance(t, dict) and t["_target_"].endswith("RescaleIntensityd")]
        for transforms in (train["volume_preprocessing"]["transforms"], inference["preprocessing"]["transforms"])
    ]
    assert scaling[0] == scaling[1] != []


def test_metadata_tell_the_sizes_of_the_configuration():
    metadata = json.loads((CONFIGS / "metadata.json").read_text())
    config = yaml.safe_load((CONFIGS / "inference.yaml").read_text())
    assert metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == config["z_dim"]


def test_shipped_weights_are_a_small_plain_state_dict():
    path = BUNDLE / "models" / "model.pt"
    assert os.path.getsize(path) <= 25 * 1024 * 1024
    state = torch.load(path, weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    assert {key.split(".")[0] for key in state} == {"encoder", "decoder"}
