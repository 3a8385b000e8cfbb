# SPDX-License-Identifier: Apache-2.0
"""Memory over a long training and a long encoding, and the cost of a picture in a small and a large folder.

    python tests/growth/growth.py training --iterations 2000
    python tests/growth/growth.py encoding --slices 20000
    python tests/growth/growth.py folders --images 1000 50000

Each writes its row into ``tests/growth/results/growth.csv``, or another ``--table`` (before the word).
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "bundles")]

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402
import torch  # noqa: E402
from ignite.engine import Engine, Events  # noqa: E402
from monai.bundle import ConfigWorkflow  # noqa: E402
from PIL import Image  # noqa: E402
from workflows import TINY, draw_weights, initialized  # noqa: E402

from monai_diffae.data import find_images  # noqa: E402

BUNDLE = Path(__file__).parents[2] / "bundles" / "natural_images_diffae"
SLICES = BUNDLE.with_name("brain_slices_diffae")
TABLE = Path(__file__).parent / "results" / "growth.csv"
COLUMNS = (
    "what",
    "count",
    "MB at one tenth",
    "MB at the end",
    "growth in %",
    "microseconds an image",
    "of which finding",
)
QUICK = TINY | {"image_size": 16, "device": "cpu", "on_error": "skip"}
QUICK_SLICES = QUICK | {"network_def::encoder::channels": [8, 8, 8, 8, 8], "image_size": 32, "pixdim": 6.0}
OF_A_VOLUME = 100  # slices


def write_pictures(folder: Path, count: int) -> Path:
    draw = np.random.default_rng(0)
    for k in range(count):
        place = folder / f"{k // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (16, 16), dtype=np.uint8)).save(place / f"{k:06d}.png", compress_level=0)
    return folder


def megabytes() -> float:
    return psutil.Process().memory_info().rss / 1e6


def watched(engine: Engine, count: int) -> list[float]:
    """Memory after each tenth of so many iterations."""
    found: list[float] = []
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=max(1, count // 10)), lambda: found.append(megabytes()))
    return found


def row(what: str, count: int, memory: list[float]) -> dict[str, object]:
    return {
        "what": what,
        "count": count,
        "MB at one tenth": f"{memory[0]:.0f}",
        "MB at the end": f"{memory[-1]:.0f}",
        "growth in %": f"{100 * (memory[-1] / memory[0] - 1):.2f}",
    }


def training(iterations: int) -> Iterator[dict[str, object]]:
    """The autoencoder, with checkpoints and validations on the way."""
    with tempfile.TemporaryDirectory() as home:
        options = QUICK | {"max_iterations": iterations, "epoch_length": 100, "batch_size": 2, "num_workers": 0}
        options |= {"num_inference_steps": 1, "num_inversion_steps": 1, "val_interval": 5}
        folders = {"dataset_dir": str(write_pictures(Path(home, "data"), 40)), "output_dir": str(Path(home, "out"))}
        workflow = initialized(BUNDLE, "train", workflow_type="train", **options, **folders)
        memory = watched(workflow.parser.get_parsed_content("train::trainer"), iterations)
        workflow.run()
    yield row("training iterations", iterations, memory)


def write_volumes(folder: Path, count: int) -> Path:
    draw = np.random.default_rng(0)
    folder.mkdir()
    for k in range(count):
        values = draw.integers(1, 255, (32, 32, OF_A_VOLUME), dtype=np.uint8)
        nib.save(nib.Nifti1Image(values, np.diag([-6.0, 6.0, 6.0, 1.0])), folder / f"{k:04d}.nii")
    return folder


def encoding(slices: int) -> Iterator[dict[str, object]]:
    """Of volumes, to a table of codes."""
    every = {"num_slices": None, "slice_range": [0.0, 1.0], "min_foreground": 0.0}
    with tempfile.TemporaryDirectory() as home:
        write_volumes(Path(home, "data"), slices // OF_A_VOLUME)
        workflow = _encoding(SLICES, Path(home), Path(home, "data"), **(QUICK_SLICES | every))
        count = len(workflow.parser.get_parsed_content("dataset"))
        memory = watched(workflow.evaluator, -(-count // 64))
        workflow.run()
    yield row("encoded slices", count, memory)


def folders(counts: list[int]) -> Iterator[dict[str, object]]:
    """Time of the processor for each picture beyond ten, which other work on the machine does not change."""
    encoded(10)  # what the first run of a process has to do
    start_up, _ = encoded(10)
    for count in counts:
        seconds, finding = encoded(count)
        yield {
            "what": "pictures of a folder, encoded",
            "count": count,
            "microseconds an image": f"{1e6 * (seconds - start_up) / (count - 10):.0f}",
            "of which finding": f"{1e6 * finding / count:.0f}",
        }


def encoded(count: int) -> tuple[float, float]:
    """Seconds of a run over so many pictures, and of finding them."""
    with tempfile.TemporaryDirectory() as home:
        data = write_pictures(Path(home, "data"), count)
        start = time.process_time()
        find_images(data)
        found = time.process_time()
        _encoding(BUNDLE, Path(home), data, **QUICK).run()
        return time.process_time() - found, found - start


def _encoding(bundle: Path, home: Path, data: Path, **options: object) -> ConfigWorkflow:
    networks = {id: value for id, value in options.items() if id in TINY}
    options |= {"ckpt_path": str(draw_weights(bundle, home / "model.pt", **networks))}
    options |= {"batch_size": 64, "progress": False, "dataset_dir": str(data), "output_dir": str(home / "out")}
    return initialized(bundle, "inference", "encode", **options)


def main() -> None:
    parser = argparse.ArgumentParser(description="Growth of memory and time.")
    parser.add_argument("--table", type=Path, default=TABLE)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("training").add_argument("--iterations", type=int, default=2000)
    commands.add_parser("encoding").add_argument("--slices", type=int, default=20_000)
    commands.add_parser("folders").add_argument("--images", type=int, nargs="+", default=[1000, 50_000])
    given = parser.parse_args()
    torch.set_num_threads(1)
    work = {"training": training, "encoding": encoding, "folders": folders}[given.command]
    rows = []
    if given.table.exists():
        with open(given.table, newline="") as f:
            rows = list(csv.DictReader(f))
    (amount,) = (value for name, value in vars(given).items() if name not in ("command", "table"))
    for new in work(amount):
        rows = [old for old in rows if (old["what"], old["count"]) != (new["what"], str(new["count"]))] + [new]
        with open(given.table, "w", newline="") as f:
            table = csv.DictWriter(f, fieldnames=COLUMNS)
            table.writeheader()
            table.writerows(rows)
        print(new, flush=True)


if __name__ == "__main__":
    main()
