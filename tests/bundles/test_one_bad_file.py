# SPDX-License-Identifier: Apache-2.0
"""One bad file among good ones: inference goes on with the rest and says so at the end, training and fitting stop."""

from __future__ import annotations

import csv
import shutil
import types
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from in_process import run_module
from PIL import Image
from workflows import TINY, draw_weights, read_table

BUNDLES = Path(__file__).parents[2] / "bundles"
FAST = {"num_inference_steps": 2, "inversion": "explicit", "progress": False, "salt": "of tests"}
FIVE_LEVELS = TINY | {"network_def::encoder::channels": [8, 8, 8, 8, 8]}
SLICES = FIVE_LEVELS | {"num_slices": 1, "image_size": 32, "pixdim": 6.0}
TRAINING = {"max_iterations": 2, "batch_size": 2, "num_inference_steps": 2, "num_inversion_steps": 2, "num_workers": 0}


def write(file: Path, seed: int) -> None:
    values = np.random.default_rng(seed).integers(1, 255, (20, 20, 20), dtype=np.uint8)
    if file.suffix == ".png":
        Image.fromarray(values[0]).resize((40, 40)).save(file)
    else:
        nib.save(nib.Nifti1Image(values, np.diag([-6.0, 6.0, 6.0, 1.0])), file)


@pytest.fixture(scope="module", params=["natural_images_diffae", "brain_slices_diffae"])
def kind(request, tmp_path_factory) -> types.SimpleNamespace:
    """A bundle with weights of a small network, and a folder whose second file of five is damaged."""
    home = tmp_path_factory.mktemp("home")
    pictures = request.param.startswith("natural")
    kind = types.SimpleNamespace(bundle=BUNDLES / request.param, data=home / "data", pictures=pictures)
    kind.extension = ".png" if pictures else ".nii.gz"
    kind.options = TINY if pictures else SLICES
    kind.weights = draw_weights(kind.bundle, home / "model.pt", **kind.options)
    kind.data.mkdir()
    for k, name in enumerate("abcde"):
        write(kind.data / f"{name}{kind.extension}", k)
    kind.bad = kind.data / f"b{kind.extension}"
    kind.bad.write_bytes(kind.bad.read_bytes()[:60])
    with open(kind.data / "labels.csv", "w", newline="") as f:
        csv.writer(f).writerows([["file", "bright"], *([f"{n}{kind.extension}", k % 2] for k, n in enumerate("abcde"))])
    return kind


def run(kind, output_dir: Path, *configs: str, data: Path | None = None, **options):
    files = [str(kind.bundle / "configs" / f"{name}.yaml") for name in configs]
    given = {"dataset_dir": data or kind.data, "output_dir": output_dir} | kind.options
    given |= TRAINING if configs[0] == "train" else FAST | {"ckpt_path": kind.weights}
    words = [str(word) for name, value in (given | options).items() for word in (f"--{name}", value)]
    return run_module("monai.bundle", "run", "--bundle_root", kind.bundle, "--config_file", str(files), *words)


def names(kind, *stems: str) -> list[str]:
    return [f"{stem}{kind.extension}" for stem in stems]


def without_the_bad_one(kind, tmp_path: Path) -> Path:
    folder = shutil.copytree(kind.data, tmp_path / "good")
    (folder / kind.bad.name).unlink()
    return folder


@pytest.mark.parametrize("overlays", [(), ("encode",)])
def test_inference_goes_on_and_ends_with_what_was_left_out(kind, tmp_path, overlays):
    out = tmp_path / "out"
    done = run(kind, out, "inference", *overlays)
    assert done.returncode == 1
    *_, head, line = done.stderr.strip().splitlines()
    assert head == f"1 of 5 files could not be used and were left out, see {out / 'failures.csv'}:"
    assert line.startswith(f"  {kind.bad}")
    assert "Traceback" not in done.stderr
    (row,) = read_table(out / "failures.csv")
    assert (row["file"], row["reason"][:10]) == (str(kind.bad), line.strip()[:10])
    assert [row["file"] for row in read_table(out / "latents.csv")] == names(kind, *"acde")
    good = without_the_bad_one(kind, tmp_path)
    assert run(kind, tmp_path / "good_out", "inference", *overlays, data=good).returncode == 0
    for file in (tmp_path / "good_out").rglob("*"):
        if file.name == "latents.csv" or file.name.endswith(f"_reconstruction{kind.extension}"):
            same = out / file.relative_to(tmp_path / "good_out")
            assert same.read_bytes() == file.read_bytes(), file


def test_a_file_that_was_mended_has_its_results_and_the_list_of_failures_is_gone(kind, tmp_path):
    data = shutil.copytree(kind.data, tmp_path / "data")
    assert run(kind, tmp_path / "out", "inference", data=data).returncode == 1
    write(data / kind.bad.name, 1)
    assert run(kind, tmp_path / "out", "inference", data=data).returncode == 0
    assert not (tmp_path / "out" / "failures.csv").exists()
    assert [row["file"] for row in read_table(tmp_path / "out" / "latents.csv")] == names(kind, *"abcde")


def test_stop_ends_at_once_and_leaves_nothing(kind, tmp_path):
    done = run(kind, tmp_path / "out", "inference", on_error="stop")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert str(kind.bad) in last
    assert last.endswith("Mend or remove the file, or leave such files out by --on_error skip.")
    assert not (tmp_path / "out").exists()
    last = run(kind, tmp_path / "out", "inference", on_error="ignore").stderr.strip().splitlines()[-1]
    assert last == "ValueError: on_error must be one of skip, stop, got 'ignore'."


def test_where_all_are_bad_nothing_is_written(kind, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for k in range(2):
        shutil.copy(kind.bad, data / f"{k}{kind.extension}")
    done = run(kind, tmp_path / "out", "inference", data=data)
    assert done.returncode == 1
    assert "None of the 2 files can be used. The first: " in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_line_through_a_bad_file_is_left_out(kind, tmp_path):
    done = run(kind, tmp_path / "out", "inference", "interpolate", num_points=2)
    assert done.returncode == 1
    left_out = [row["file"] for row in read_table(tmp_path / "out" / "failures.csv")]
    a, b, c = (str(kind.data / name) for name in names(kind, *"abc"))
    assert left_out == sorted([b, f"{a} to {b}", f"{b} to {c}"])
    assert {file.name.split("_interpolation")[0] for file in (tmp_path / "out").glob("*_interpolation*")} == {
        "c_to_d",
        "d_to_e",
    }
    done = run(kind, tmp_path / "one", "inference", "swap", pairs=str([names(kind, "a", "b")]))
    assert "Of each chain a file was left out" in done.stderr.strip().splitlines()[-1]


def test_fitting_stops_or_says_what_was_left_out(kind, tmp_path):
    fit = ("inference", "fit_attributes")
    options = {"attributes": "['bright']"} | ({} if kind.pictures else {"num_slices": 2})
    done = run(kind, tmp_path / "out", *fit, **options)
    assert done.returncode == 1
    assert str(kind.bad) in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()
    done = run(kind, tmp_path / "out", *fit, on_error="skip", **options)
    assert done.returncode == 0, done.stderr
    assert "1 of 5 files could not be used and were left out" in done.stdout + done.stderr
    assert [row["file"] for row in read_table(tmp_path / "out" / "failures.csv")] == [str(kind.bad)]
    good = without_the_bad_one(kind, tmp_path)
    assert run(kind, tmp_path / "good_out", *fit, data=good, **options).returncode == 0
    a, b = (torch.load(tmp_path / name / "attributes.pt", weights_only=True) for name in ("out", "good_out"))
    assert a.keys() == b.keys()
    assert all(torch.equal(value, b[key]) for key, value in a.items() if isinstance(value, torch.Tensor))


def test_training_of_both_stages_stops_or_says_what_was_left_out(kind, tmp_path):
    done = run(kind, tmp_path / "stop", "train")
    assert done.returncode == 1
    assert "--on_error skip" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "stop").exists()
    done = run(kind, tmp_path / "out", "train", on_error="skip")
    assert done.returncode == 0, done.stderr
    assert [row["file"] for row in read_table(tmp_path / "out" / "failures.csv")] == [str(kind.bad)]
    latent = {"latent_num_samples": 8, "latent_batch_size": 4, "latent_network_def::hidden_dim": 8}
    latent |= {"ckpt_path": tmp_path / "out" / "models" / "model.pt", "val_fraction": 0.3, "on_error": "skip"}
    done = run(kind, tmp_path / "latent", "inference", "train_latent", **latent)
    assert done.returncode == 0, done.stderr
    codes = torch.load(tmp_path / "latent" / "latents.pt", weights_only=True)["latents"]
    assert sorted(set(codes["source"].tolist())) == [0, 2, 3, 4]  # places in the data list
    table = (tmp_path / "latent" / "failures.csv").read_text()
    assert str(kind.bad) in table
    assert run(kind, tmp_path / "latent", "inference", "train_latent", **latent).returncode == 0
    assert (tmp_path / "latent" / "failures.csv").read_text() == table  # of the codes that are used again
