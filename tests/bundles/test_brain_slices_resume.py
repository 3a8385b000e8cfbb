# SPDX-License-Identifier: Apache-2.0
"""A run over a folder that is killed, and started again."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import workflows
from in_process import run_module
from workflows import metrics

BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_slices_diffae"
CONFIGS = BUNDLE / "configs"
OPTIONS = {"num_inference_steps": 20, "num_inversion_steps": 20, "num_slices": 3, "batch_size": 2, "progress": False}
OPTIONS |= {"network_def::encoder::channels": [8, 16, 16, 16, 16], "network_def::decoder::channels": [8, 16, 16]}
OPTIONS |= {f"network_def::{part}::norm_num_groups": 4 for part in ("encoder", "decoder")}
COUNT = 4


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("volumes")
    random = np.random.default_rng(0)
    for k in range(COUNT):
        data = np.zeros((40, 44, 30), dtype=np.int16)
        data[4:-4, 4:-4, 2:-2] = random.integers(100, 900, (32, 36, 26))
        nib.save(nib.Nifti1Image(data, np.diag([-4.0, 4.0, 4.0, 1.0])), folder / f"sub-{k}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return workflows.draw_weights(BUNDLE, tmp_path_factory.mktemp("weights") / "model.pt", **OPTIONS)


def command(volumes: Path, weights: Path, out: Path, device: str, **options) -> list[str]:
    words = ["monai.bundle", "run", "--bundle_root", str(BUNDLE)]
    words += ["--config_file", str(CONFIGS / "inference.yaml")]
    options = {**OPTIONS, "salt": "a", "dataset_dir": volumes, "output_dir": out, "ckpt_path": weights, **options}
    options["device"] = device
    return words + [word for name, value in options.items() for word in (f"--{name}", str(value))]


def run(volumes: Path, weights: Path, out: Path, device: str, **options) -> None:
    done = run_module(*command(volumes, weights, out, device, **options))
    assert done.returncode == 0, done.stderr


def files(out: Path, pattern: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.rglob(pattern) if not path.name.startswith(".")}


def rows(out: Path) -> list[list[str]]:
    with open(out / "latents.csv", newline="") as f:
        return list(csv.reader(f))


def test_a_killed_run_goes_on_where_it_stopped(volumes, weights, tmp_path, device):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    run(volumes, weights, whole, device)

    process = subprocess.Popen(
        [sys.executable, "-m", *command(volumes, weights, halves, device)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not files(halves, "sub-*.json"):  # the record of a complete volume
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done, remembered = files(halves, "*_reconstruction.nii.gz"), files(halves, "*.pt")
    assert 0 < len(done) < COUNT
    assert 0 < len(remembered) < 3 * COUNT
    for name in done:
        assert nib.load(halves / name).get_fdata().shape == (40, 44, 30)
    assert not (halves / "latents.csv").exists()

    keep = {"run": "['$@evaluator.run()']"}  # without the last step, which deletes what was remembered
    run(volumes, weights, halves, device, **keep)
    finished = files(halves, "*_reconstruction.nii.gz")
    assert len(finished) == COUNT
    assert {name: finished[name] for name in done} == done
    assert {name: time for name, time in files(halves, "*.pt").items() if name in remembered} == remembered
    for name in finished:
        expected, found = (np.asarray(nib.load(out / name).dataobj) for out in (whole, halves))
        np.testing.assert_allclose(found, expected, atol=1)
    expected, found = rows(whole), rows(halves)
    assert [row[:6] for row in found] == [row[:6] for row in expected]
    assert len(found) == 1 + 3 * COUNT
    codes, expected_codes = (np.array(table[1:])[:, 6:].astype(float) for table in (found, expected))
    np.testing.assert_allclose(codes, expected_codes, atol=1e-3)
    assert metrics(halves) == pytest.approx(metrics(whole), rel=1e-3)

    # Nothing is left to do, and in the end nothing to remember, unless everything is to be done again.
    run(volumes, weights, halves, device)
    assert files(halves, "*_reconstruction.nii.gz") == finished
    assert files(halves, "*.pt") == files(whole, "*.pt") == {}
    run(volumes, weights, halves, device, resume=False)
    again = files(halves, "*_reconstruction.nii.gz")
    assert all(again[name] > finished[name] for name in finished)
