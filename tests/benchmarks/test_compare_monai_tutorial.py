# SPDX-License-Identifier: Apache-2.0
"""The comparison with MONAI's tutorial, on a few pictures named as MedNIST's are."""

import csv
import sys

import compare_monai_tutorial
import numpy as np
import pytest
import torch
from compared_methods import METHODS
from PIL import Image
from study_images import drawn_names
from study_training import Recipe, train

from monai_diffae.networks import DiffAEUNet, DiffusionAutoencoder, SemanticEncoder
from monai_diffae.training import find_last_checkpoint


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("MedNIST")
    random = np.random.default_rng(0)
    for name in [*drawn_names("train", 24), *drawn_names("val", 12)]:
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (64, 64), dtype=np.uint8)).save(root / name)
    return root


def command(monkeypatch, pictures, folder, *more):
    few = "--images 24 --num_val 12 --seeds 0 --steps 1 --step_counts 1,2 --num_images 2 --num_exact 1 --num_samples 4"
    few += f" --latent_samples 256 --judge_iterations 2 --output {folder}/rows.csv --output_dir {folder}/weights"
    monkeypatch.setattr(sys, "argv", ["x", "--dataset_dir", str(pictures), *few.split(), *more])
    compare_monai_tutorial.main()


def rows(folder):
    with open(folder / "rows.csv", newline="") as f:
        return list(csv.DictReader(f))


def test_every_method_is_measured_once(pictures, tmp_path, monkeypatch, capsys):
    command(monkeypatch, pictures, tmp_path)
    found = rows(tmp_path)
    measures = {name: {row["measure"] for row in found if row["method"] == name} for name in METHODS}
    assert measures["tutorial"] == measures["tutorial_our_recipe"]
    assert "psnr, exact x_T" in measures["tutorial"]
    assert measures["tutorial"] < measures["ours"]
    steps = [row["steps"] for row in found if row["measure"] == "Frechet distance of samples, pixels"]
    assert steps == ["", "1", "2", "1", "2"]  # training images, ours, unconditional
    assert all(np.isfinite(float(row["value"])) for row in found)
    assert not list(tmp_path.rglob("checkpoint_*.pt"))
    before = (tmp_path / "rows.csv").read_text()
    command(monkeypatch, pictures, tmp_path)
    assert (tmp_path / "rows.csv").read_text() == before
    assert capsys.readouterr().out.count("its rows are there") == 4
    summary = (tmp_path / "rows.md").read_text().splitlines()
    assert len({line.count("|") for line in summary}) == 1


def test_networks_have_as_many_weights_as_each_other():
    counts = {name: sum(p.numel() for p in method.build(0).parameters()) for name, method in METHODS.items()}
    assert counts["tutorial"] == counts["tutorial_our_recipe"] == pytest.approx(counts["ours"], rel=0.1)


def test_what_the_tutorial_sees_is_brought_back():
    x = torch.linspace(-1, 1, 5)
    seen = METHODS["tutorial"].seen(x)
    assert (seen.min(), seen.max()) == (0, 1)
    torch.testing.assert_close(METHODS["tutorial"].shown(seen), x)
    assert METHODS["ours"].seen(x) is x


def small_network():
    torch.manual_seed(0)
    shared = {"spatial_dims": 2, "in_channels": 1, "z_dim": 4, "channels": (8, 8), "attention_levels": (False, False)}
    shared |= {"num_res_blocks": 1, "norm_num_groups": 4}
    return DiffusionAutoencoder(SemanticEncoder(**shared), DiffAEUNet(**shared, out_channels=1))


class Stop(Exception):
    pass


@pytest.mark.parametrize("recipe", [Recipe(batch_size=250), Recipe(batch_size=250, is_constant=True, ema_decay=None)])
def test_a_stopped_training_ends_as_one_that_was_not(recipe, tmp_path, monkeypatch):
    images = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    whole, _ = train(small_network(), recipe, images, 2000, 0, "float32")

    def stop(progress, engine):
        if engine.state.epoch == 2:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("study_training.Progress.__call__", stop)
        with pytest.raises(Stop):
            train(small_network(), recipe, images, 2000, 0, "float32", checkpoint_dir=tmp_path)
    assert find_last_checkpoint(tmp_path) is not None
    resumed, _ = train(small_network(), recipe, images, 2000, 0, "float32", checkpoint_dir=tmp_path)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
