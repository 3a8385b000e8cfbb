# SPDX-License-Identifier: Apache-2.0
"""Directions fitted to a user's labels of pictures, and edits along them, on a small network with drawn weights."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import workflows
from in_process import run_module
from monai.bundle import ConfigWorkflow
from PIL import Image
from skimage.data import lfw_subset
from workflows import read_table

from monai_diffae.semantics import AttributeDirections
from monai_diffae.support.root_cause import root_cause

BUNDLE = Path(__file__).parents[2] / "bundles" / "natural_images_diffae"
CONFIGS = BUNDLE / "configs"
COUNT = 15
STEPS = {"num_inference_steps": 2, "num_inversion_steps": 2, "progress": False}


def config_files(overlay: str) -> list[str]:
    return [str(CONFIGS / f"{name}.yaml") for name in ("inference", overlay)]


def run(overlay: str, **overrides) -> ConfigWorkflow:
    return workflows.run(BUNDLE, "inference", overlay, **overrides)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """Real faces with their brightness as labels of each kind, some of them missing."""
    folder = tmp_path_factory.mktemp("faces")
    pixels = (255 * lfw_subset()[:COUNT]).astype(np.uint8)
    brightness = pixels.mean(axis=(1, 2))
    ranks = brightness.argsort().argsort()
    with open(folder / "labels.csv", "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["file", "bright", "grade", "brightness"])
        for k, picture in enumerate(pixels):
            Image.fromarray(picture).save(folder / f"{k:02d}.png")
            table.writerow([f"{k:02d}.png", int(ranks[k] > 6), ranks[k] // 5, "" if k < 3 else f"{brightness[k]:.2f}"])
    return folder


@pytest.mark.parametrize("overlay", ["manipulate", "sample"])
def test_nothing_of_the_shipped_network_is_used_with_other_weights(faces, weights, tmp_path, overlay):
    """Directions and latent codes of another network of the same z_dim would be nonsense without an error."""
    with pytest.raises(Exception, match="Failed") as raised:
        run(overlay, dataset_dir=str(faces), output_dir=str(tmp_path), ckpt_path=weights)
    found = root_cause(raised.value)
    assert isinstance(found, FileNotFoundError)
    assert str(Path(weights).with_name("attributes.pt" if overlay == "manipulate" else "latent.pt")) in str(found)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return str(workflows.draw_weights(BUNDLE, tmp_path_factory.mktemp("weights") / "model.pt", scale=0.1))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, faces, weights) -> Path:
    options = {"attribute_kinds": {"grade": "ordinal"}, "regularization": 0.01}
    names = ["bright", "grade", "brightness"]
    return workflows.fit(BUNDLE, faces, tmp_path_factory.mktemp("fitted"), weights, names, **options)


def test_directions_of_every_kind_are_fitted_and_listed(fitted):
    names = {"attributes.pt", "attributes.csv", "latents.csv", ".monai_diffae"}  # the last marks it as no data set
    assert {path.name for path in fitted.iterdir()} == names
    directions = AttributeDirections.load(fitted / "attributes.pt")
    assert directions.names == ["bright", "grade", "brightness"]
    rows = read_table(fitted / "attributes.csv")
    assert [(row["attribute"], row["kind"], row["labels"]) for row in rows] == [
        ("bright", "binary", str(COUNT)),
        ("grade", "ordinal", str(COUNT)),
        ("brightness", "continuous", str(COUNT - 3)),
    ]
    assert [[key for key in ("auroc", "r2", "mae") if row[key]] for row in rows] == [
        ["auroc"],
        ["r2", "mae"],
        ["r2", "mae"],
    ]
    assert all(float(row["score_min"]) < float(row["score_max"]) for row in rows)


def test_fit_options_reach_the_regressions(faces, weights, fitted, tmp_path):
    options = {"dataset_dir": str(faces), "ckpt_path": weights, "attributes": ["bright", "brightness"]}
    for name, option in (("weight", {"class_weight": 5}), ("strength", {"regularization": 1.0})):
        run("fit_attributes", output_dir=str(tmp_path / name), **{"regularization": 0.01, **options, **option})
    first = AttributeDirections.load(fitted / "attributes.pt")
    weighted, sharper = (AttributeDirections.load(tmp_path / name / "attributes.pt") for name in ("weight", "strength"))
    assert weighted.summary("bright").score_mean > first.summary("bright").score_mean + 0.1
    assert torch.equal(weighted.weight[1], first.weight[2])
    assert (sharper.weight.norm(dim=1) > 1.5 * first.weight[[0, 2]].norm(dim=1)).all()


def edit(faces: Path, weights: str, fitted: Path, folder: Path, **options) -> ConfigWorkflow:
    paths = {"dataset_dir": str(faces), "ckpt_path": weights, "attributes_path": str(fitted / "attributes.pt")}
    return run("manipulate", output_dir=str(folder), **(paths | STEPS | options))


def test_a_series_of_amounts_is_written_as_numbered_pictures_and_rows(faces, weights, fitted, tmp_path, device):
    edit(faces, weights, fitted, tmp_path, attribute="bright", amount=[-0.3, 0.0, 0.3], device=device)
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {f"{k:02d}_edit_{i}.png" for k in range(COUNT) for i in range(3)} | {
        f"{k:02d}_reconstruction.png" for k in range(COUNT)
    }
    first, last = (np.asarray(Image.open(tmp_path / f"00_edit_{i}.png")) for i in (0, 2))
    assert first.shape == (25, 25)  # of the source
    assert (first != last).any()
    rows = read_table(tmp_path / "edits.csv")
    assert [(row["file"], row["amount"]) for row in rows[:4]] == [
        ("00.png", "-0.3"),
        ("00.png", "0"),
        ("00.png", "0.3"),
        ("01.png", "-0.3"),
    ]
    after = np.array([float(row["score_after"]) for row in rows]).reshape(COUNT, 3)
    before = np.array([float(row["score_before"]) for row in rows]).reshape(COUNT, 3)
    assert (np.diff(after, axis=1) > 0.1).all()
    np.testing.assert_allclose(after[:, 1], before[:, 1], rtol=1e-4, atol=1e-4)
    assert (tmp_path / "figures" / "manipulation.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("attribute", "target", "keep", "scores"),
    [
        ("brightness", 120, ["bright"], None),
        ("bright", "boundary", [], [0.0]),
        ("grade", [0.5, 1.5], "brightness", [0.5, 1.5]),
    ],
)
def test_targets_are_reached(faces, weights, fitted, tmp_path, attribute, target, keep, scores):
    edit(faces, weights, fitted, tmp_path, attribute=attribute, target=target, keep=keep)
    rows = read_table(tmp_path / "edits.csv")
    assert [row["target"] for row in rows] == [
        str(t) for t in (target if isinstance(target, list) else [target])
    ] * COUNT
    summary = AttributeDirections.load(fitted / "attributes.pt").summary(attribute)
    mean_score_of_value = summary.score_mean + summary.score_per_unit * (120 - summary.score_mean)
    expected = [mean_score_of_value] if scores is None else scores
    np.testing.assert_allclose([float(row["score_after"]) for row in rows], expected * COUNT, rtol=1e-4, atol=2e-3)
    assert {row["extrapolation"] for row in rows} == {"0"}
    assert len(list(tmp_path.glob("*_edit*.png"))) == COUNT * len(expected)


@pytest.mark.parametrize(
    ("share", "keep", "num_steps"), [(1.0, [], 1), ([-0.5, 0.75], ["brightness"], 1), (0.8, "grade", 2)]
)
def test_pictures_are_moved_to_a_class_mean(faces, weights, fitted, tmp_path, share, keep, num_steps):
    options = {"attribute": "bright", "to_class_mean": share, "keep": keep, "num_steps": num_steps}
    options |= {"dataset_dir": str(faces), "ckpt_path": weights, "attributes_path": str(fitted / "attributes.pt")}
    workflow = run("manipulate", output_dir=str(tmp_path), **options, **STEPS)
    rows = read_table(tmp_path / "edits.csv")
    shares = share if isinstance(share, list) else [share] * num_steps
    assert [float(row["to_class_mean"]) for row in rows] == shares * COUNT
    directions = AttributeDirections.load(fitted / "attributes.pt")
    kept = [directions.index(name) for name in ([keep] if isinstance(keep, str) else keep)]
    latents = torch.tensor([[float(row[f"z_{i}"]) for i in range(64)] for row in read_table(tmp_path / "latents.csv")])
    moved = directions.move_to_class_mean(latents, "bright", shares[-1], keep)
    after = [float(row["score_after"]) for row in rows[len(shares) - 1 :: len(shares)]]
    np.testing.assert_allclose(after, directions.scores(moved)[:, 0], atol=2e-3)
    np.testing.assert_allclose(directions.scores(moved)[:, kept], directions.scores(latents)[:, kept], atol=2e-3)
    assert all(float(row["distance"]) > 0 for row in rows)
    assert len(list(tmp_path.glob("*_edit*.png"))) == COUNT * len(shares)
    assert len(set(workflow.inferer.titles)) == len(shares)


def test_command_line_takes_a_target_and_ends_an_error_with_its_cause(faces, weights, fitted, tmp_path):
    command = ["monai.bundle", "run", "--config_file", str(config_files("manipulate"))]
    options = {"bundle_root": BUNDLE, "dataset_dir": faces, "output_dir": tmp_path / "out", "ckpt_path": weights}
    options |= {"attributes_path": fitted / "attributes.pt", "attribute": "bright"} | STEPS
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    target = [*command, "--target", "across", "--keep", "['grade']"]
    done = run_module(*target, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = read_table(tmp_path / "out" / "edits.csv")
    for row in rows:
        assert float(row["score_after"]) == pytest.approx(-float(row["score_before"]), abs=2e-3)
    failed = run_module(*target, "--amount", "0.3", cwd=tmp_path)
    assert failed.returncode != 0
    last_line = failed.stderr.strip().splitlines()[-1]
    assert (
        last_line
        == "ValueError: Give exactly one of amount, target and to_class_mean; got amount=0.3 and target='across'."
    )
