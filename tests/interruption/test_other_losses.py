# SPDX-License-Identifier: Apache-2.0
"""A file that vanishes during the run, a worker that dies or has no memory: the last line says it, and what was there
before stays."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import sys
from pathlib import Path

import pytest
import torch
from children import in_child, last_line, linux, prepared
from PIL import Image
from tasks import TASKS


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return prepared(tmp_path_factory.mktemp("home"))


def checkpoints(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "checkpoints").glob("*.pt")}


@linux
def test_a_worker_that_dies_is_said_and_the_run_goes_on_later(home, tmp_path):
    task = TASKS["training of the autoencoder"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    for folder in (whole, out):
        assert in_child(lambda folder=folder: {"code": task.run(home, folder, max_iterations=4)}) == {"code": 0}
    before = checkpoints(out)
    assert before
    dies = {"num_workers": 1, "train::dataloader::worker_init_fn": "$lambda _: os.kill(os.getpid(), 9)"}
    assert in_child(lambda: {"code": task.run(home, out, **dies)}) == {"code": 1}
    line = last_line(tmp_path / "out.log")
    assert "DataLoader worker" in line
    assert "Lower num_workers" in line
    assert checkpoints(out) == before
    assert in_child(lambda: {"code": task.run(home, out, num_workers=1)}) == {"code": 0}
    assert in_child(lambda: {"code": task.run(home, whole)}) == {"code": 0}
    a, b = (torch.load(folder / "models" / "model.pt", weights_only=True) for folder in (whole, out))
    assert all(torch.equal(value, b[name]) for name, value in a.items())


def train(home: Path, output_dir: Path, options: dict) -> None:
    """All that a new interpreter does."""
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of its worker
    sys.exit(TASKS["training of the autoencoder"].run(home, output_dir, **options))


@linux
def test_memory_that_runs_out_in_a_worker_is_said_with_the_file(home, tmp_path):
    """It may have 50 MB more than it begins with; a picture of 88 million pixels needs 353 MB in float32. In a new
    interpreter: one that has run many tests may find them in what those have given back."""
    data, out, task = tmp_path / "data", tmp_path / "out", TASKS["training of the autoencoder"]
    shutil.copytree(home / "digits", data)
    assert in_child(lambda: {"code": task.run(home, out, max_iterations=4, dataset_dir=data)}) == {"code": 0}
    before = checkpoints(out)
    Image.new("L", (9400, 9400)).save(tmp_path / "large.png")
    for file in data.iterdir():  # whichever is trained on first
        shutil.copyfile(tmp_path / "large.png", file)
    limit = "int(open('/proc/self/statm').read().split()[0]) * os.sysconf('SC_PAGE_SIZE') + 5 * 10**7"
    limited = f"$lambda _: __import__('resource').setrlimit({resource.RLIMIT_AS}, ({limit},) * 2)"
    options = {"num_workers": 1, "cache_gigabytes": 0, "train::dataloader::worker_init_fn": limited}
    training = multiprocessing.get_context("spawn").Process(
        target=train, args=(home, out, {"dataset_dir": data} | options)
    )
    training.start()
    training.join()
    assert training.exitcode == 1
    line = last_line(tmp_path / "out.log")
    assert "memory" in line
    assert str(data) in line
    assert checkpoints(out) == before


@linux
def test_a_file_that_vanishes_during_the_run_is_named_and_results_before_it_stay(home, tmp_path):
    """The second half of the pictures is gone when the first result is there."""
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(home / "digits", data)

    def run() -> dict:
        rename = os.replace

        def renamed(partial: Path, path: Path) -> None:
            rename(partial, path)
            if Path(path).name == "0_reconstruction.png":
                for k in range(4, 8):
                    (data / f"{k}.png").unlink()

        os.replace = renamed
        task = TASKS["inference on a folder of pictures"]
        return {"code": task.run(home, out, dataset_dir=data, cache_gigabytes=0, batch_size=1)}

    found = in_child(run)
    assert found == {"code": 1}
    assert str(data / "4.png") in last_line(out.with_name("out.log"))
    assert sorted(path.name for path in out.glob("*.png")) == [f"{k}_reconstruction.png" for k in range(4)]
    assert not list(out.rglob(".partial.*"))
