# SPDX-License-Identifier: Apache-2.0
"""A user's day with the bundle for pictures: a small training on faces and on photographs, then every workflow, each by
its command, from another working directory."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_pictures import write_faces, write_few_labels, write_photographs
from PIL import Image

BUNDLE = Path(__file__).parents[2] / "bundles" / "natural_images_diffae"
TRAINING = {"max_iterations": 200, "epoch_length": 50, "val_interval": 4, "batch_size": 16, "num_workers": 0}
TRAINING |= {"num_inference_steps": 5, "num_inversion_steps": 5}
FAST = {"inversion": "explicit", "num_inference_steps": 10}
SAMPLING = {"latent_ckpt_path": "latent/models/latent.pt", "statistics_path": "latent/models/statistics.pt"}
SAMPLING |= {"num_inference_steps": 10, "num_latent_inference_steps": 20}
LATENT = {"latent_num_samples": 12_800, "epoch_length": 50, "val_interval": 2}


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def stems(names: list[str]) -> set[str]:
    return {os.path.splitext(name)[0] for name in names}


class User:
    """A working directory with the folder ``my pictures``, three of them in ``few`` too, and trained weights."""

    def __init__(self, home: Path, write: Callable[[Path], dict[str, tuple[int, int]]], **options: Any) -> None:
        self.home = home
        self.options = options
        self.sizes = write(home / "my pictures")
        self.few = list(self.sizes)[5:8]
        for name in self.few:
            (home / "few" / name).parent.mkdir(parents=True, exist_ok=True)
            (home / "few" / name).write_bytes((home / "my pictures" / name).read_bytes())

    def run(self, *names: str, output_dir: str, **options: Any) -> subprocess.CompletedProcess:
        """``python -m monai.bundle run``; fails if that does."""
        files = ",".join(f"'{BUNDLE / 'configs' / name}.yaml'" for name in names)
        command = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", str(BUNDLE)]
        command += ["--config_file", f"[{files}]", "--output_dir", output_dir]
        if names[0] == "inference":
            options = {"ckpt_path": "run/models/model.pt", "progress": False} | options
        given = {"dataset_dir": "my pictures"} | self.options | options
        command += [word for name, value in given.items() for word in (f"--{name}", str(value))]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{names}: {done.stderr[-3000:]}"
        return done

    def together(self, *works: tuple[tuple[str, ...], dict[str, Any]]) -> None:
        """Several commands, two at a time."""
        with ThreadPoolExecutor(2) as pool:
            for result in [pool.submit(self.run, *names, **options) for names, options in works]:
                result.result()

    def picture(self, *parts: str) -> Image.Image:
        return Image.open(self.home.joinpath(*parts))

    def table(self, *parts: str) -> list[dict[str, str]]:
        return read(self.home.joinpath(*parts))

    def metrics(self, folder: str) -> dict[str, float]:
        with open(self.home / folder / "metrics.csv", newline="") as f:
            return {name: float(value) for name, value in csv.reader(f)}

    def listed(self, folder: str) -> list[str]:
        """Files in ``latents.csv``."""
        return [row["file"] for row in self.table(folder, "latents.csv")]


@pytest.fixture(scope="module", params=["faces", "photographs"])
def user(request, tmp_path_factory) -> User:
    home = tmp_path_factory.mktemp(request.param)
    if request.param == "faces":
        user = User(home, write_faces, image_size=16)
    else:
        user = User(home, write_photographs, image_size="[16,24]", in_channels=3, background=-1)
    write_few_labels(home / "my pictures" / "labels.csv", home / "few labels.csv", negative=10)
    write_few_labels(home / "my pictures" / "labels.csv", home / "positive labels.csv", negative=0)
    user.run("train", output_dir="run", **TRAINING)
    fit = {"attributes": "['bright','grade','mean']", "attribute_kinds": "{'grade':'ordinal'}"}
    user.together(
        (("inference", "fit_attributes"), fit | {"output_dir": "fit"}),
        (("inference", "train_latent"), LATENT | {"output_dir": "latent"}),
    )
    return user


@pytest.mark.slow
def test_training_goes_on_starts_from_weights_and_takes_a_discriminator(user):
    more = TRAINING | {"max_iterations": 250}
    start = TRAINING | {"max_iterations": 20, "epoch_length": 20, "val_interval": 1, "init_from": "run/models/model.pt"}
    user.together(
        (("train",), start | {"output_dir": "fine_tuned", "flip_prob": 0.5, "random_crop": 0.9}),
        (("train", "train_adversarial"), start | {"output_dir": "adversarial"}),
    )
    shutil.copytree(user.home / "run", user.home / "longer")  # the other tests go on with the weights of run
    user.run("train", output_dir="longer", **more)
    log = user.table("longer", "training_log.csv")
    assert [row["iteration"] for row in log] == ["50", "100", "150", "200", "250"]
    losses = [float(row["train_loss"]) for row in log]
    assert losses[-1] < losses[0]
    assert float(log[3]["val_psnr"]) > 15
    tuned = user.table("fine_tuned", "training_log.csv")
    assert float(tuned[0]["train_loss"]) < 0.7 * losses[0]
    (row,) = user.table("adversarial", "training_log.csv")
    assert float(row["discriminator_loss"]) > 0
    assert float(row["reconstruction_loss"]) < losses[0]


@pytest.mark.slow
def test_pictures_are_encoded_and_come_back_at_their_size(user):
    user.together(
        (("inference", "encode"), {"output_dir": "codes"}),
        (("inference",), {"dataset_dir": "few", "output_dir": "exact"}),
        (("inference", "compare_x_T"), FAST | {"dataset_dir": "few", "output_dir": "compared"}),
        (("inference", "variations"), FAST | {"dataset_dir": "few", "output_dir": "varied", "num_variations": 2}),
    )
    assert user.listed("codes") == sorted(user.sizes)
    assert user.metrics("exact")["psnr"] > 40
    for name in user.few:
        stem = os.path.splitext(name)[0]
        with user.picture("exact", f"{stem}_reconstruction.png") as result:
            assert result.size == user.sizes[name]
            assert result.mode == ("RGB" if "in_channels" in user.options else "L")
        first, second = (user.picture("varied", f"{stem}_variations_{k}.png") for k in range(2))
        assert first.size == second.size == user.sizes[name]
        assert np.abs(np.asarray(first, float) - np.asarray(second, float)).mean() > 1
    compared = user.metrics("compared")
    assert compared["psnr"] > compared["psnr_random_x_T"]
    for figure in ("exact/figures/reconstruction", "compared/figures/reconstruction", "varied/figures/variations"):
        assert user.picture(f"{figure}.png").size[0] > 300


@pytest.mark.slow
def test_labels_of_every_kind_are_fitted_and_edited(user):
    fitted = {row["attribute"]: row for row in user.table("fit", "attributes.csv")}
    assert {name: row["kind"] for name, row in fitted.items()} == {
        "bright": "binary",
        "grade": "ordinal",
        "mean": "continuous",
    }
    counts = (int(fitted["bright"]["labels"]), int(fitted["bright"]["positive"]))
    assert counts == (len(user.sizes), len(user.sizes) // 2)
    assert int(fitted["mean"]["labels"]) == len(user.sizes) - 1
    edit = FAST | {"dataset_dir": "few", "attributes_path": "fit/attributes.pt"}
    user.together(
        (("inference", "manipulate"), edit | {"output_dir": "series", "attribute": "bright", "amount": "[-1,1]"}),
        (
            ("inference", "manipulate"),
            edit | {"output_dir": "target", "attribute": "mean", "target": 120, "keep": "['grade']"},
        ),
        (
            ("inference", "manipulate", "counterfactual"),
            edit | {"output_dir": "counterfactual", "attribute": "bright", "target": "across", "num_steps": 2},
        ),
    )
    series = user.table("series", "edits.csv")
    assert [row["amount"] for row in series] == ["-1", "1"] * 3
    assert all(float(low["score_after"]) < float(high["score_after"]) for low, high in zip(series[::2], series[1::2]))
    reached = [float(row["score_after"]) for row in user.table("target", "edits.csv")]
    mean, slope = (float(fitted["mean"][column]) for column in ("score_mean", "score_per_unit"))
    assert reached == pytest.approx([mean + slope * (120 - mean)] * 3, rel=1e-3)  # the mean score of codes with 120
    steps = user.table("counterfactual", "edits.csv")
    assert [row["step"] for row in steps] == ["1/2", "2/2"] * 3
    assert all(float(row["score_after"]) * float(row["score_before"]) < 0 for row in steps[1::2])
    for name in user.few:
        stem = os.path.splitext(name)[0]
        for folder, results in {
            "series": ("reconstruction", "edit_0", "edit_1"),
            "target": ("reconstruction", "edit"),
            "counterfactual": ("reconstruction", "edit_0", "edit_1"),
        }.items():
            pictures = [user.picture(folder, f"{stem}_{result}.png") for result in results]
            assert {picture.size for picture in pictures} == {user.sizes[name]}
            assert len({picture.tobytes() for picture in pictures}) == len(results)


@pytest.mark.slow
def test_pictures_are_joined_and_swapped(user):
    first, second, third = user.few
    pairs = str([[second, first], [second, third]])
    user.together(
        (("inference", "interpolate"), FAST | {"output_dir": "pairs", "pairs": pairs, "num_points": 3}),
        (("inference", "interpolate"), FAST | {"output_dir": "chain", "chain": str(user.few), "num_points": 3}),
        (("inference", "swap"), FAST | {"output_dir": "swap", "pairs": pairs}),
    )
    assert user.listed("pairs") == user.listed("swap") == [second, first, third]
    assert user.listed("chain") == user.few
    counts = {"pairs": 2 * 3, "chain": 5, "swap": 2 * 2}
    size = (24, 16) if "in_channels" in user.options else (16, 16)
    for folder, count in counts.items():
        files = [path for path in (user.home / folder).rglob("*.png") if path.parent.name != "figures"]
        assert len(files) == count
        assert {Image.open(path).size for path in files} == {size}


@pytest.mark.slow
def test_new_pictures_are_functions_of_the_seed_and_their_number(user):
    conditional = SAMPLING | {"attribute": "label", "prior": 0.5, "num_samples": 4}
    again = SAMPLING | {"num_samples": 2, "first_sample": 4, "batch_size": 1, "seed": 1}
    user.together(
        (("inference", "sample"), SAMPLING | {"output_dir": "samples", "num_samples": 6, "seed": 1}),
        (("inference", "sample"), again | {"output_dir": "again"}),
        (("inference", "sample"), again | {"output_dir": "other", "seed": 2}),
        (
            ("inference", "sample", "conditional_sample"),
            conditional | {"output_dir": "class", "labels_file": "few labels.csv"},
        ),
        (
            ("inference", "sample", "conditional_sample"),
            conditional | {"output_dir": "positive", "labels_file": "positive labels.csv"},
        ),
    )
    samples = {
        folder: {path.name: np.asarray(Image.open(path), float) for path in (user.home / folder / "samples").iterdir()}
        for folder in ("samples", "again", "other", "class", "positive")
    }
    assert [len(pictures) for pictures in samples.values()] == [6, 2, 2, 4, 4]
    for name, picture in samples["again"].items():
        np.testing.assert_allclose(picture, samples["samples"][name], atol=1)
        assert np.abs(picture - samples["other"][name]).mean() > 1
    for folder in ("class", "positive"):
        assert 0 < user.metrics(folder)["acceptance_rate"] <= 1
        assert all(float(row["probability"]) > 0 for row in user.table(folder, "latents.csv"))


@pytest.mark.slow
def test_the_latent_diffusion_goes_on_with_the_codes_that_it_has(user):
    done = user.run("inference", "train_latent", output_dir="latent", **(LATENT | {"latent_num_samples": 19_200}))
    assert "Re-used 60 codes" in done.stdout + done.stderr
    assert [row["iteration"] for row in user.table("latent", "training_log.csv")] == ["50", "100", "150"]
