# SPDX-License-Identifier: Apache-2.0
"""The workflows evaluate and fit_typicality, by a small network with drawn weights on a user's pictures and volumes."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.networks.nets import Classifier
from PIL import Image

from monai_diffae.semantics import LatentTypicality
from monai_diffae.support.root_cause import root_cause

BUNDLES = Path(__file__).parents[2] / "bundles"
NETWORK = {
    "network_def::encoder::channels": [8, 16, 16],
    "network_def::encoder::attention_levels": [False, False, False],
    "network_def::encoder::norm_num_groups": 4,
    "network_def::decoder::channels": [8, 16, 16],
    "network_def::decoder::attention_levels": [False, False, False],
    "network_def::decoder::norm_num_groups": 4,
    "z_dim": 6,
}
FEW = {
    "num_inference_steps": 2,
    "inversion": "explicit",
    "step_counts": [2],
    "ways": ["explicit", "zeros"],
    "num_images": 7,
    "num_samples": 7,
    "num_edits": 3,
    "judge_iterations": 4,
    "label_shares": [1.0],
    "num_draws": 3,
    "edit_strengths": [-0.5, 0.5],
    "attribute_kinds": {},
    "progress": False,
}


def run(bundle: str, *overlays: str, **overrides) -> None:
    configs = BUNDLES / bundle / "configs"
    workflow = ConfigWorkflow(
        [str(configs / f"{name}.yaml") for name in ("inference", *overlays)],
        meta_file=str(configs / "metadata.json"),
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(BUNDLES / bundle),
        **NETWORK,
        **overrides,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()


def write_pictures(folder: Path, count: int, seed: int) -> str:
    """Blurred noise, half of it bright."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    with open(folder / "labels.csv", "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["file", "note", "bright", "level"])
        for k in range(count):
            level = 60 + 120 * (k % 2) + random.integers(-20, 20)
            pixels = np.clip(level + 10 * random.normal(size=(16, 16)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{k:02d}.png")
            table.writerow([f"{k:02d}.png", "text", k % 2, int(level)])
    return str(folder)


def write_volumes(folder: Path, count: int, seed: int) -> str:
    """Bright balls in noise; the labels say their size. Of every other one a mask is known."""
    random, grid = np.random.default_rng(seed), np.indices((20, 20, 12)) - np.array([10, 10, 6]).reshape(3, 1, 1, 1)
    for name in ("images", "lesions"):
        (folder / name).mkdir(parents=True)
    with open(folder / "labels.csv", "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["file", "large", "radius"])
        for k in range(count):
            radius = 5 + 3 * (k % 2) + random.random()
            volume = 10 + 90 * (np.sqrt((grid**2).sum(axis=0)) < radius) + random.random((20, 20, 12))
            nibabel.save(nibabel.Nifti1Image(volume.astype(np.float32), np.eye(4)), folder / "images" / f"v{k}.nii.gz")
            if k % 2:
                mask = nibabel.Nifti1Image((volume > 50).astype(np.uint8), np.eye(4))
                nibabel.save(mask, folder / "lesions" / f"v{k}.nii.gz")
            table.writerow([f"images/v{k}.nii.gz", k % 2, f"{radius:.2f}"])
    return str(folder)


KINDS = {
    "natural_images_diffae": (write_pictures, 24, {"image_size": 16}),
    "brain_slices_diffae": (
        write_volumes,
        8,
        {"image_size": 16, "pixdim": 1.0, "slice_range": [0.3, 0.7], "num_slices": 2}
        | {"masks": {"ball": "lesions"}, "mask_labels": [], "shown_by": {}},  # a name of the user's
    ),
}


@pytest.fixture(scope="module", params=list(KINDS))
def case(request, tmp_path_factory):
    write, count, options = KINDS[request.param]
    root = tmp_path_factory.mktemp("evaluate")
    write(root / "test", count, 0)
    write(root / "train", count, 1)
    parser = ConfigParser()
    parser.read_config(str(BUNDLES / request.param / "configs" / "inference.yaml"))
    for name, value in (NETWORK | {k: v for k, v in options.items() if k in parser.get()}).items():
        parser[name] = value
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    (root / "models").mkdir()
    torch.save(network.state_dict(), root / "models" / "model.pt")
    options = options | {"ckpt_path": str(root / "models" / "model.pt"), "device": "cpu", "batch_size": 6}
    return request.param, root, options


def read(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as f:
        return list(csv.DictReader(f))


def test_everything_is_measured_that_can_be(case, tmp_path):
    bundle, root, options = case
    labels = {"attributes": None, "edited_attributes": None}
    fit = {k: v for k, v in options.items() if k not in ("masks", "mask_labels", "shown_by")}
    names = ["bright", "level"] if bundle == "natural_images_diffae" else ["large", "radius"]
    masks = {k: v for k, v in options.items() if k not in fit}
    run(
        bundle,
        "fit_attributes",
        dataset_dir=str(root / "train"),
        output_dir=str(root / "models"),
        attributes=names,
        progress=False,
        **fit,
        **masks,
    )
    folders = {"dataset_dir": str(root / "test"), "train_dataset_dir": str(root / "train")}
    run(bundle, "evaluate", output_dir=str(tmp_path / "out"), **folders, **options, **FEW, **labels)
    rows = read(tmp_path / "out")
    assert {row["section"] for row in rows} == {"reconstruction", "representation", "editing"}
    assert all(math.isfinite(float(row["value"])) for row in rows)
    probed = {row["of"] for row in rows if row["measure"] in ("auroc", "r2") and "z_sem" in row["of"]}
    assert probed == {f"{name}, z_sem" for name in names}
    assert {row["of"].split(",")[0] for row in rows if row["measure"] == "response: monotonic"} == set(names)
    outside = "share of the squared change outside the mask" in {row["measure"] for row in rows}
    assert outside == (bundle == "brain_slices_diffae")  # the others have no masks
    with open(tmp_path / "out" / "reconstruction.csv", newline="") as f:
        images = list(csv.DictReader(f))
    assert len(images) == FEW["num_images"]
    assert all((root / "test" / row["file"]).is_file() for row in images)
    assert {"slice" in row for row in images} == {bundle == "brain_slices_diffae"}
    mean = np.mean([float(row["psnr, x_T zeros, 2 steps"]) for row in images])
    assert next(
        float(row["value"]) for row in rows if row["of"] == "x_T zeros, 2 steps" and row["measure"] == "psnr"
    ) == (pytest.approx(mean, rel=1e-4))
    page = (tmp_path / "out" / "index.html").read_text()
    assert "latent.pt" in page  # there is none, and it says so
    figures = re.findall(r"src='([^']+)'", page)
    assert figures
    assert all((tmp_path / "out" / figure).is_file() for figure in figures)
    assert "Intended use" in page
    assert not (tmp_path / "out" / ".resume").exists() or not any((tmp_path / "out" / ".resume").iterdir())


def test_a_folder_without_labels_and_training_images_is_enough(case, tmp_path):
    bundle, root, options = case
    only = {"sections": ["representation", "editing"]}
    run(
        bundle,
        "evaluate",
        dataset_dir=str(root / "test"),
        output_dir=str(tmp_path / "out"),
        attributes=[],
        train_dataset_dir=None,
        **options,
        **FEW,
        **only,
    )
    rows = read(tmp_path / "out")
    assert {row["section"] for row in rows} == {"representation"}
    assert {row["measure"] for row in rows} == {"participation_ratio", "effective_rank", "semantic gap"}
    text = (tmp_path / "out" / "metrics.md").read_text()
    assert "no labels were given" in text


def test_a_table_that_is_not_there_is_an_error(case, tmp_path):
    bundle, root, options = case
    with pytest.raises(Exception, match="Failed") as raised:
        run(
            bundle,
            "evaluate",
            dataset_dir=str(root / "test"),
            output_dir=str(tmp_path / "out"),
            labels_file="none.csv",
            **options,
            **FEW,
        )
    assert "none.csv" in str(root_cause(raised.value))
    assert not (tmp_path / "out" / "metrics.csv").exists()


@pytest.fixture
def without_masks(case) -> tuple:
    """For workflows that take no labels."""
    bundle, root, options = case
    return bundle, root, {k: v for k, v in options.items() if k not in ("masks", "mask_labels", "shown_by")}


def test_typicality_is_fitted_and_stands_in_every_table_of_codes(without_masks, tmp_path):
    bundle, root, options = without_masks
    run(
        bundle,
        "fit_typicality",
        dataset_dir=str(root / "train"),
        withheld_dir=str(root / "test"),
        output_dir=str(tmp_path / "fit"),
        progress=False,
        **options,
    )
    path = tmp_path / "fit" / "typicality.pt"
    count = 24 if bundle == "natural_images_diffae" else 16
    assert len(LatentTypicality.load(path).withheld) == count
    run(
        bundle,
        "encode",
        dataset_dir=str(root / "test"),
        output_dir=str(tmp_path / "codes"),
        typicality_path=str(path),
        noise_losses=True,
        progress=False,
        **options,
    )
    with open(tmp_path / "codes" / "latents.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    found = [float(row["typicality"]) for row in rows]
    for level in (25, 50, 75):
        losses = [float(row[f"noise_loss_{level}"]) for row in rows]
        assert min(losses) > 0
        assert len(set(losses)) > 1
    expected = [100 * k / (count + 1) for k in range(1, count + 1)]  # of the very images that it was compared with
    assert sorted(found) == pytest.approx(expected, abs=1.01 * 100 / (count + 1))  # equal codes differ by rounding


def test_weights_with_the_network_of_a_configuration_are_explained(without_masks, tmp_path):
    bundle, root, options = without_masks
    layers = {"in_shape": [1, 16, 16], "classes": 1, "channels": [4], "strides": [2]}
    torch.manual_seed(0)
    torch.save(Classifier(**layers).state_dict(), tmp_path / "weights.pt")
    run(
        bundle,
        "explain",
        dataset_dir=str(root / "test"),
        output_dir=str(tmp_path / "out"),
        classifier_path=str(tmp_path / "weights.pt"),
        classifier_def={"_target_": "Classifier"} | layers,
        classifier_outputs="logits",
        **dict.fromkeys(("num_inference_steps", "num_images", "num_steps", "max_aims"), 1),
        inversion="explicit",
        progress=False,
        **options,
    )
    assert "share that it says yes to" in {row["measure"] for row in read(tmp_path / "out")}
    assert len((tmp_path / "out" / "explanations.csv").read_text().splitlines()) == 2


def test_a_classifier_in_a_file_is_explained(without_masks, tmp_path):
    bundle, root, options = without_masks

    class Bright(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            level = x.flatten(1).mean(dim=1)
            return torch.stack([-level, level], dim=1) * 50.0

    path = tmp_path / ("classifier.ts" if bundle == "brain_slices_diffae" else "classifier.pt2")
    if path.suffix == ".ts":
        torch.jit.script(Bright()).save(str(path))
    else:
        torch.export.save(torch.export.export(Bright(), (torch.zeros(1, 1, 16, 16),)), path)
    few = {"num_inference_steps": 2, "inversion": "explicit", "num_images": 3, "num_steps": 2, "max_aims": 2}
    run(
        bundle,
        "explain",
        dataset_dir=str(root / "test"),
        output_dir=str(tmp_path / "out"),
        classifier_path=str(path),
        classifier_output=1,
        classifier_softmax=True,
        progress=False,
        **few,
        **options,
    )
    with open(tmp_path / "out" / "explanations.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 3
    assert {"score_step_1", "score_step_2", "flipped"} <= set(rows[0])
    assert all((root / "test" / row["file"]).is_file() for row in rows)
    measures = {row["measure"] for row in read(tmp_path / "out")}
    assert {"r2", "flip rate", "distance"} <= measures
    assert "explanation_counterfactuals.png" in (tmp_path / "out" / "index.html").read_text()
