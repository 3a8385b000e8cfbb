# SPDX-License-Identifier: Apache-2.0
"""Where the time of a training step goes, and what checkpointing and accumulation of gradients cost and save.

    python tests/benchmarks/training_profile.py --bundle natural_images_diffae

Runs a bundle's shipped train.yaml on random images of its size, in memory, and times its parts in turn: waiting for a
batch (its transforms, noise and loader run as they are shipped), forward, backward, clipping, optimiser, moving
average. Written to docs/training_profile.csv: share of each.

Then, in processes of their own (peak memory cannot be reset), a step of the same number of images as it is, with
gradient checkpointing, and in two halves that are accumulated: peak memory beyond what was there before the first step,
and time an image. Written to docs/training_memory.csv.

On a CPU one thread computes, and its time is that of the process, so that other programs count little. Waiting for data
is time on the clock.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import torch
from ignite.handlers import EMAHandler
from monai.bundle import ConfigParser

import monai_diffae  # noqa: F401  (the configs name it)
from monai_diffae.support.atomic_files import replacing

BUNDLES = Path(__file__).parents[2] / "bundles"
PARTS = ("data", "forward", "backward", "clip", "optimizer", "ema")
MODES = {"as shipped": {}, "checkpointing": {"checkpoint": True}, "accumulation of two halves": {"accumulation": 2}}


def configure(args: argparse.Namespace, folder: str, **options) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(BUNDLES / args.bundle / "configs" / "train.yaml")
    parser["bundle_root"] = str(BUNDLES / args.bundle)
    parser["output_dir"] = folder
    parser["device"] = f"$torch.device('{args.device}')"
    parser["precision"] = args.precision
    size, channels = parser["image_size"], parser.get("in_channels", 1)
    # In memory, as CacheDataset and VolumeSlices hand their items out.
    parser["random_images"] = f"$[{{'image': x}} for x in torch.rand(256, {channels}, {size}, {size}) * 2 - 1]"
    parser["train::dataset::data"] = "@random_images"
    for part in ("encoder", "decoder"):
        parser[f"network_def::{part}::use_checkpoint"] = options.get("checkpoint", False)
    parser["batch_size"] = parser["batch_size"] // options.get("accumulation", 1)
    parser.parse(reset=True)
    return parser


class Clock:
    """Adds up what passes between its calls, under names."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.spent: dict[str, list[float]] = defaultdict(list)
        self.restart()

    def _now(self) -> float:
        if self.device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def restart(self) -> None:
        self.start, self.start_wall = self._now(), time.perf_counter()

    def __call__(self, name: str) -> None:
        passed = time.perf_counter() - self.start_wall if name == "data" else self._now() - self.start
        self.spent[name].append(passed)
        self.restart()


def train(parser: ConfigParser, steps: int, accumulation: int = 1) -> dict[str, list[float]]:
    """Times of the parts of each step, after two that are not counted. The last batches of loaders are waited for."""
    get = parser.get_parsed_content
    network, optimizer, device = get("network"), get("train::optimizer"), get("device")
    loss, inferer, prepare, ema = (
        get("train::loss"),
        get("train::inferer"),
        get("train::prepare_batch"),
        get("train::ema"),
    )
    engine = type("Engine", (), {"state": type("State", (), {"momentum": ema.momentum})})
    batches, clock = iter(get("train::dataloader")), Clock(device)
    network.train()
    for step in range(steps + 2):
        if step == 2:
            clock.spent.clear()
        optimizer.zero_grad(set_to_none=True)
        for _ in range(accumulation):
            clock.restart()
            batch = next(batches)
            clock("data")
            images, target, _, keywords = prepare(batch, device, non_blocking=True)
            error = loss(inferer(images, network, **keywords), target)
            clock("forward")
            (error / accumulation).backward()
            clock("backward")
        torch.nn.utils.clip_grad_norm_(network.parameters(), parser["max_grad_norm"])
        clock("clip")
        optimizer.step()
        clock("optimizer")
        ema._update_ema_model(engine, "momentum")
        clock("ema")
        EMAHandler._update_ema_model(ema, engine, "momentum")
        clock("ema of ignite")  # for comparison; not part of the step
    return clock.spent


def profile(args: argparse.Namespace) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        parser = configure(args, folder)
        times = {name: median(values) for name, values in train(parser, args.steps).items()}
    total = sum(times[name] for name in PARTS)
    return [{"part": name, "ms": round(1000 * t, 2), "share": round(t / total, 4)} for name, t in times.items()]


def allocated(device: str, reset: bool = False) -> float:
    """The highest since the last reset, or now where it is reset, in MiB. On a CPU of the process (Linux)."""
    if device.startswith("cuda"):
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 2**20
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024


def memory(args: argparse.Namespace, mode: str) -> dict:
    options = MODES[mode]
    with tempfile.TemporaryDirectory() as folder:
        parser = configure(args, folder, **options)
        accumulation = options.get("accumulation", 1)
        for name in ("network", "train::optimizer", "train::ema"):
            parser.get_parsed_content(name)
        before = allocated(args.device, reset=True)
        times = train(parser, max(args.steps // 2, 1), accumulation)
        peak = allocated(args.device)
    images = parser["batch_size"] * accumulation
    seconds = sum(median(times[p]) * (accumulation if p in ("data", "forward", "backward") else 1) for p in PARTS)
    return {
        "mode": mode,
        "images a step": images,
        "MiB": round(peak - before),
        "ms an image": 1000 * seconds / images,
    }


def write(rows: list[dict], path: Path) -> None:
    with replacing(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="natural_images_diffae", help="name of a folder in bundles/")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)  # what the processes are called with
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.mode:
        print(json.dumps(memory(args, args.mode)))
        return
    docs = BUNDLES / args.bundle / "docs"
    rows = profile(args)
    for row in rows:
        print("{part:10} {ms:10.2f} ms  {share:6.2%}".format(**row), flush=True)
    write(rows, docs / "training_profile.csv")
    rows = []
    for mode in MODES:
        options = [f"--{name}={getattr(args, name)}" for name in ("bundle", "precision", "steps", "device")]
        done = subprocess.run(
            [sys.executable, __file__, *options, "--mode", mode], check=True, stdout=subprocess.PIPE, text=True
        )
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        rows[-1]["ms an image"] = round(rows[-1]["ms an image"], 2)
        print(rows[-1], flush=True)
    write(rows, docs / "training_memory.csv")


if __name__ == "__main__":
    main()
