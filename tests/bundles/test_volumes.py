# SPDX-License-Identifier: Apache-2.0
"""volumes.yaml: the brain bundle on whole volumes, by 3D networks; what comes out lies in the source."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from latent_workflows import Bundle, read_table, weights_of
from monai.bundle import ConfigParser
from PIL import Image
from workflows import write_direction

from monai_diffae.semantics import AttributeDirections
from monai_diffae.support.pseudonyms import Pseudonyms

OPTIONS = {"z_dim": 8, "num_inference_steps": 2, "num_inversion_steps": 2, "batch_size": 2}
TRAINING = {"max_iterations": 2, "epoch_length": 2, "val_interval": 1, "num_workers": 0, "val_fraction": 0.4}
INFERENCE = {"foreground_threshold": 0, "image_size": 16, "inversion": "explicit", "progress": False}
COUNT, SHAPE = 5, (22, 18, 20)
AFFINE = np.array([[0, 0, -9.0, 80], [9.0, 0, 0, -95], [0, -9.0, 0, 70], [0, 0, 0, 1]])  # turned and flipped axes


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    """Balls of tissue in a noisy surrounding of low values, some with a lesion, laid out as the generator's data."""
    folder = tmp_path_factory.mktemp("volumes")
    for name in ("images", "lesions"):
        (folder / name).mkdir()
    random = np.random.default_rng(0)
    distance = np.linalg.norm(np.indices(SHAPE) - np.array([10.5, 8.5, 9.5])[:, None, None, None], axis=0)
    rows = [["file", "lesion", "size"]]
    for i in range(COUNT):
        lesion = (i % 2) * (distance < 2)
        values = (distance < 5 + i / 2) * (300 + random.integers(0, 99, SHAPE)) + 300 * lesion
        values -= (values == 0) * random.integers(0, 99, SHAPE)
        for name, volume in (("images", values), ("lesions", lesion)):
            nib.save(nib.Nifti1Image(volume.astype(np.int16), AFFINE), folder / name / f"sub-{i}.nii.gz")
        rows.append([f"images/sub-{i}.nii.gz", i % 2, 5 + i / 2])
    with open(folder / "labels.csv", "w", newline="") as f:
        csv.writer(f).writerows(rows)
    return Bundle("brain_slices_diffae", folder, dataset_dir=str(folder))


def train(bundle: Bundle, folder: Path, **options) -> list[dict]:
    options = OPTIONS | TRAINING | options | {"output_dir": str(folder), "init_from": str(folder / "start.pt")}
    parser = ConfigParser()
    parser.read_config([str(bundle.configs / f"{name}.yaml") for name in ("train", "volumes")])
    parser.update(options)
    generator = torch.Generator().manual_seed(0)
    state = parser.get_parsed_content("network_def").state_dict()
    folder.mkdir()
    torch.save({k: 0.05 * torch.randn(x.shape, generator=generator) for k, x in state.items()}, folder / "start.pt")
    bundle.run("train", "volumes", workflow_type="train", **options)
    return read_table(folder / "training_log.csv")


@pytest.fixture(scope="module")
def trained(bundle, tmp_path_factory) -> dict:
    """Options of inference by a network that saw two batches."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    rows = train(bundle, folder, image_size=16)
    assert float(rows[0]["train_loss"]) > 0
    assert float(rows[0]["val_psnr"]) > 0
    return OPTIONS | INFERENCE | {"ckpt_path": str(folder / "models" / "model.pt")}


@pytest.fixture(scope="module")
def attributes_path(tmp_path_factory) -> str:
    return write_direction(tmp_path_factory.mktemp("attributes") / "attributes.pt", "lesion", 8)


@pytest.mark.parametrize("names", [("train",), ("train", "volumes")], ids=["slices", "volumes"])
def test_zooms_change_the_size_in_training_alone(bundle, tmp_path, names):
    options = OPTIONS | TRAINING | {"image_size": 16, "pixdim": 9.0, "flip_prob": 0.0, "output_dir": str(tmp_path)}
    kept, shrunk = (
        bundle.workflow(*names, workflow_type="train", zoom_range=zoom_range, **options)
        for zoom_range in ([1, 1], [0.7, 0.7])
    )
    before, after = (
        workflow.parser.get_parsed_content("train::dataset")[(0, 0)]["image"] for workflow in (kept, shrunk)
    )
    assert after.shape == before.shape
    spatial_dims = before.ndim - 1
    assert 0.3**spatial_dims < float((after > 0).sum() / (before > 0).sum()) < 0.9**spatial_dims
    assert after[(0,) * before.ndim] == -1  # black, as other padding
    stored = [workflow.parser.get_parsed_content("train::wholes")[0]["image"] for workflow in (kept, shrunk)]
    torch.testing.assert_close(*stored, rtol=0, atol=0)


def numbers(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj.get_unscaled())


@pytest.mark.parametrize("edit_mode", ["residual", "decoded"])
def test_volumes_are_edited_in_the_grid_of_their_source(bundle, trained, attributes_path, tmp_path, edit_mode):
    options = trained | {"amount": 3.0, "attribute": "lesion", "attributes_path": attributes_path}
    bundle.run("inference", "volumes", "manipulate", output_dir=str(tmp_path), edit_mode=edit_mode, **options)
    for i in range(COUNT):
        source = nib.load(f"{bundle.options['dataset_dir']}/images/sub-{i}.nii.gz")
        found = {k: nib.load(tmp_path / f"images/sub-{i}_{k}.nii.gz") for k in ("reconstruction", "edit", "difference")}
        for kind, image in found.items():
            assert image.shape == SHAPE
            np.testing.assert_array_equal(image.affine, AFFINE)
            assert image.get_data_dtype() == (np.float32 if kind == "difference" else np.int16)
        foreground = np.argwhere(source.get_fdata() > 0)
        low, high = foreground.min(axis=0), foreground.max(axis=0) + 1
        outside = np.ones(SHAPE, dtype=bool)
        outside[tuple(slice(max(a - 1, 0), b + 1) for a, b in zip(low, high))] = False  # a coarse voxel holds two
        assert outside.mean() > 0.3
        for kind in ("reconstruction", "edit"):
            assert numbers(found[kind])[outside].tobytes() == numbers(source)[outside].tobytes()
        difference = found["difference"].get_fdata()
        assert not difference[outside].any()
        assert np.abs(difference).max() > 1
        edit, reconstruction = found["edit"].get_fdata(), found["reconstruction"].get_fdata()
        changed = difference != 0
        base = source.get_fdata() if edit_mode == "residual" else reconstruction
        np.testing.assert_allclose((edit - base)[changed], difference[changed], atol=1.01)  # two roundings
    rows = read_table(tmp_path / "latents.csv")
    assert [row["subject"] for row in rows] == [Pseudonyms(tmp_path)(f"sub-{i}") for i in range(COUNT)]
    middle = AFFINE @ [10.5, 8.5, 9.5, 1]
    for row in rows:
        assert "slice" not in row
        place = [float(row[name]) for name in ("x_mm", "y_mm", "z_mm")]
        np.testing.assert_allclose(place, middle[:3], atol=13)  # a voxel of the network
    assert len(read_table(tmp_path / "edits.csv")) == COUNT
    width, height = Image.open(tmp_path / "figures" / "manipulation.png").size
    assert width == int(110 * (1.6 * 4 + 0.9))
    assert height == int(110 * (1.65 * 9 + 0.4 + 0.14))  # three volumes, three cuts; titles of two lines
    for i in range(COUNT):
        assert Image.open(tmp_path / f"images/sub-{i}_figure.png").size[0] == int(110 * (1.6 * 4 + 0.9 + 0.7))


def test_an_interrupted_run_goes_on_with_the_volumes_that_are_missing(bundle, trained, tmp_path):
    names, out, options = ("inference", "volumes"), tmp_path / "out", trained | {"batch_size": 1, "salt": "a"}
    whole = bundle.run(*names, output_dir=str(tmp_path / "whole"), **options)
    workflow = bundle.workflow(*names, output_dir=str(out), **options)

    def stop(engine: Engine) -> None:
        raise KeyboardInterrupt

    evaluator = workflow.parser.get_parsed_content("evaluator")
    evaluator.add_event_handler(Events.ITERATION_STARTED(once=3), stop)
    with pytest.raises(KeyboardInterrupt):
        workflow.run()
    times = {path.name: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    assert sorted(times) == ["sub-0_reconstruction.nii.gz", "sub-1_reconstruction.nii.gz"]
    assert not (out / "latents.csv").exists()
    again = bundle.run(*names, output_dir=str(out), **options)
    for name, time in times.items():
        assert (out / "images" / name).stat().st_mtime_ns == time
    assert read_table(out / "latents.csv") == read_table(tmp_path / "whole" / "latents.csv")
    for i in range(COUNT):
        file = f"images/sub-{i}_reconstruction.nii.gz"
        np.testing.assert_array_equal(numbers(nib.load(out / file)), numbers(nib.load(tmp_path / "whole" / file)))
    found, expected = (w.parser.get_parsed_content("evaluator").state.metrics for w in (again, whole))
    assert found == pytest.approx(expected)


def test_the_other_workflows_take_whole_volumes_as_well(bundle, trained, tmp_path):
    def run(name: str, *others: str, **options) -> Path:
        bundle.run("inference", "volumes", name, *others, output_dir=str(tmp_path / name), **trained | options)
        return tmp_path / name

    grid = (16, 16, 16)
    assert len(read_table(run("encode") / "latents.csv")) == COUNT
    fitted = run("fit_attributes", attributes=["lesion", "size"], num_steps=1)
    assert AttributeDirections.load(fitted / "attributes.pt").names == ["lesion", "size"]
    assert [row["labels"] for row in read_table(fitted / "attributes.csv")] == [str(COUNT)] * 2

    options = {
        "attributes_path": str(fitted / "attributes.pt"),
        "attribute": "lesion",
        "target": "boundary",
        "num_steps": 2,
    }
    explained = run("manipulate", "counterfactual", **options)
    rows = read_table(explained / "edits.csv")
    assert len(rows) == 2 * COUNT
    assert [bool(row["change_inside"] != "nan") for row in rows] == [bool(i % 2) for i in range(COUNT) for _ in "12"]
    assert nib.load(explained / "images/sub-0_edit.nii.gz").shape == (*SHAPE, 2)
    assert (explained / "figures" / "counterfactual.png").exists()

    pair = {"pairs": [["images/sub-0.nii.gz", "images/sub-3.nii.gz"], ["images/sub-0.nii.gz", "images/sub-1.nii.gz"]]}
    lines = run("interpolate", num_points=3, **pair)
    for i in (1, 3):
        line = nib.load(lines / f"images/sub-0_to_sub-{i}_interpolation.nii.gz")
        assert line.shape == (*grid, 3)
        np.testing.assert_allclose(nib.affines.voxel_sizes(line.affine), 12.0, rtol=1e-5)
    assert nib.load(run("swap", **pair) / "images/sub-0_to_sub-3_swap.nii.gz").shape == grid
    varied = run("variations", num_variations=2)
    assert nib.load(varied / "images/sub-4_variations.nii.gz").shape == (*grid, 2)
    assert nib.load(varied / "images/sub-4_variation_std.nii.gz").shape == grid
    compared = dict(csv.reader((run("compare_x_T") / "metrics.csv").open()))
    assert float(compared["ssim"]) > float(compared["psnr_random_x_T"]) - 100


def test_volumes_are_sampled_by_a_latent_diffusion(bundle, trained, tmp_path):
    few = {"latent_batch_size": 4, "latent_max_iterations": 2, "epoch_length": 1, "val_interval": 1}
    few |= {"latent_network_def::hidden_dim": 32, "latent_network_def::num_layers": 3, "val_fraction": 0.4}
    options = trained | few | {"output_dir": str(tmp_path / "latent")}
    bundle.run("inference", "volumes", "train_latent", workflow_type="train", **options)
    options = trained | weights_of(tmp_path / "latent") | {"output_dir": str(tmp_path / "out"), "num_samples": 2}
    bundle.run("inference", "volumes", "sample", **options)
    first, second = (nib.load(tmp_path / f"out/samples/00000{k}.nii.gz") for k in range(2))
    assert first.shape == second.shape == (16, 16, 16)
    np.testing.assert_allclose(first.affine, np.diag([12.0, 12, 12, 1]))
    assert np.abs(first.get_fdata() - second.get_fdata()).max() > 1e-3
    assert len(read_table(tmp_path / "out" / "latents.csv")) == 2
    assert Image.open(tmp_path / "out" / "figures" / "samples.png").size == (2 * 3 * 64 + 2, 64)


def test_checkpointing_changes_no_loss_and_accumulation_makes_fewer_steps(bundle, tmp_path):
    options = {"image_size": 16, "epoch_length": 1, "val_interval": 5}
    losses = {}
    for name, changes in (
        ("plain", {"use_checkpoint": False, "accumulation_steps": 1}),
        ("checkpointed", {"use_checkpoint": True, "accumulation_steps": 1}),
        ("accumulated", {"use_checkpoint": True, "accumulation_steps": 2, "epoch_length": 2}),
    ):
        rows = train(bundle, tmp_path / name, **options | changes)
        losses[name] = [float(row["train_loss"]) for row in rows]
    assert losses["checkpointed"] == pytest.approx(losses["plain"], rel=1e-4)
    # Without a step between its two batches, the second is seen by the weights of the start.
    assert losses["accumulated"][0] != pytest.approx(sum(losses["plain"]) / 2, rel=1e-6)


def test_an_interrupted_training_goes_on_as_one_that_was_not(bundle, tmp_path):
    options = OPTIONS | TRAINING | {"image_size": 16, "max_iterations": 6, "val_interval": 3, "accumulation_steps": 2}
    options |= {"network_def::encoder::channels": [8, 16, 16], "network_def::decoder::channels": [8, 16, 16]}
    options |= {f"network_def::{part}::norm_num_groups": 4 for part in ("encoder", "decoder")}
    parser = ConfigParser()
    parser.read_config([str(bundle.configs / f"{name}.yaml") for name in ("train", "volumes")])
    parser.update(options)
    generator = torch.Generator().manual_seed(0)
    state = parser.get_parsed_content("network_def").state_dict()
    torch.save({k: 0.05 * torch.randn(x.shape, generator=generator) for k, x in state.items()}, tmp_path / "start.pt")

    def losses_of(folder: str, stop_at: int | None = None) -> dict[int, float]:
        """By iteration."""
        found = {}
        out = {"output_dir": str(tmp_path / folder), "init_from": str(tmp_path / "start.pt")}
        workflow = bundle.workflow("train", "volumes", workflow_type="train", **options | out)
        trainer = workflow.parser.get_parsed_content("train::trainer")

        def record(engine: Engine) -> None:
            found[engine.state.iteration] = float(engine.state.output[0]["loss"])
            if engine.state.iteration == stop_at:
                raise KeyboardInterrupt

        trainer.add_event_handler(Events.ITERATION_COMPLETED, record)
        if stop_at is None:
            workflow.run()
        else:
            with pytest.raises(KeyboardInterrupt):
                workflow.run()
        return found

    whole = losses_of("whole")
    assert list(whole) == [1, 2, 3, 4, 5, 6]
    first = losses_of("halves", stop_at=5)  # in an epoch of two batches, which make one step
    assert list(first) == [1, 2, 3, 4, 5]
    assert not (tmp_path / "halves" / "models" / "model.pt").exists()
    second = losses_of("halves")
    assert list(second) == [5, 6]
    assert first | second == pytest.approx(whole, rel=1e-5)
    assert len({round(loss, 6) for loss in whole.values()}) == 6
    models = [torch.load(tmp_path / f / "models" / "model.pt", weights_only=True) for f in ("whole", "halves")]
    torch.testing.assert_close(*models)
    tables = [read_table(tmp_path / f / "training_log.csv") for f in ("whole", "halves")]
    columns = ("iteration", "train_loss", "val_psnr", "val_noise_loss")
    found, expected = ([[float(row[c] or 0) for c in columns] for row in table] for table in tables)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("image_size", [32, 64])
def test_larger_volumes_take_one_number(bundle, tmp_path, image_size):
    rows = train(bundle, tmp_path / "run", image_size=image_size, batch_size=1, val_interval=2)
    assert float(rows[0]["train_loss"]) > 0
    options = OPTIONS | INFERENCE | {"image_size": image_size, "batch_size": 1, "output_dir": str(tmp_path / "out")}
    bundle.run("inference", "volumes", "encode", ckpt_path=str(tmp_path / "run" / "models" / "model.pt"), **options)
    assert len(read_table(tmp_path / "out" / "latents.csv")) == COUNT
