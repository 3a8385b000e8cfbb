# SPDX-License-Identifier: Apache-2.0
"""What a diffusion autoencoder of volumes, or images, costs in pixels and in the latent space of a compression model.

Both have the same semantic encoder and the same channels and blocks of the decoder, and take the same number of
evaluations; they are timed in turn, in one process, on the same volumes:

    python tests/benchmarks/latent_space_speed.py [--sizes 16 32 48 64] [--squares 128 256] [--rounds 3] [--steps 10]

Written is ``results/latent_space_speed.csv``: seconds a volume, or an image, (medians of the rounds) to encode, to
invert and decode (explicit, ``--steps`` evaluations each, the compression model included) and of a training step
(batch 1), the memory that a training step needs, and for volumes the exponent with which each grows with the number
of voxels.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.networks.nets import AutoencoderKL
from speed.memory import peak_memory

from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.networks import Compression, DiffAEUNet, DiffusionAutoencoder, LatentSpaceAutoencoder, SemanticEncoder
from monai_diffae.schedulers import InvertibleDDIMScheduler

RESULTS = Path(__file__).parent / "results" / "latent_space_speed.csv"
SPACES = ("pixels", "latents")
TASKS = ("encode", "invert", "decode", "train step")
BLOCKS = {"z_dim": 128, "num_res_blocks": 1, "norm_num_groups": 16}
DECODER = {"channels": (32, 64), "attention_levels": (False, False)}  # attention over 64^3 voxels fits no memory


def build(space: str, spatial_dims: int, device: str) -> DiffusionAutoencoder:
    """A network with random weights: time does not depend on them."""
    torch.manual_seed(0)
    blocks = BLOCKS | {"spatial_dims": spatial_dims}
    encoder = SemanticEncoder(
        **blocks, in_channels=1, channels=(16, 32, 64), attention_levels=(False, False, True), patch_size=4
    )
    channels = 1 if space == "pixels" else 4
    decoder = DiffAEUNet(**blocks, **DECODER, in_channels=channels, out_channels=channels)
    network = DiffusionAutoencoder(encoder, decoder)
    if space == "latents":
        stage_1 = AutoencoderKL(
            spatial_dims=spatial_dims,
            in_channels=1,
            out_channels=1,
            channels=(16, 32, 64),
            latent_channels=4,
            num_res_blocks=1,
            attention_levels=(False, False, False),
            norm_num_groups=16,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        network = LatentSpaceAutoencoder(Compression(stage_1), network)
    return network.to(device)


class Work:
    """The tasks of one network on one volume."""

    def __init__(self, space: str, sides: tuple[int, ...], steps: int, device: str) -> None:
        self.network = build(space, len(sides), device)
        scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
        self.loops = DiffusionAutoencoderInferer(scheduler, steps, verbose=False)
        self.image = torch.randn(1, 1, *sides, device=device)
        self.optimizer = torch.optim.Adam([p for p in self.network.parameters() if p.requires_grad])
        self.latent = self.network.to_latent(self.image) if space == "latents" else self.image
        self.z_sem = self.loops.encode(self.image, self.network)

    def tasks(self) -> dict[str, Callable[[], object]]:
        return {
            "encode": lambda: self.loops.encode(self.image, self.network),
            "invert": lambda: self.loops.invert(self.image, self.network, self.z_sem),
            "decode": lambda: self.loops.decode(self.z_sem, torch.randn_like(self.latent), self.network),
            "train step": self.train_step,
        }

    def train_step(self) -> None:
        """With the latent known from before, as training keeps it."""
        noise = torch.randn_like(self.latent)
        timesteps = torch.tensor([500], device=noise.device)
        prediction = self.loops(self.image, self.network, noise, timesteps, latent=self.latent)
        self.optimizer.zero_grad()
        (prediction - noise).square().mean().backward()
        self.optimizer.step()


def seconds(task: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    task()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def train_memory(space: str, sides: tuple[int, ...], device: str) -> float:
    """MiB that a training step adds at its highest; on a CPU of a process of its own."""
    command = [sys.executable, __file__, "--memory_of", space, *map(str, sides), "--device", device]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_train_memory(space: str, sides: tuple[int, ...], device: str) -> None:
    Work(space, (16,) * len(sides), 1, device).train_step()  # what libraries take once
    print(peak_memory(Work(space, sides, 1, device).train_step, torch.device(device)))


def measure(sides: tuple[int, ...], rounds: int, steps: int, device: str) -> list[dict[str, object]]:
    works = {space: Work(space, sides, steps, device).tasks() for space in SPACES}
    for tasks in works.values():
        for task in tasks.values():
            task()  # warm
    times = {(space, name): [] for space in SPACES for name in TASKS}
    for _ in range(rounds):
        for name in TASKS:
            for space in SPACES:  # in turn
                times[space, name].append(seconds(works[space][name], device))
    rows = []
    for name in TASKS:
        pixels, latents = (statistics.median(times[space, name]) for space in SPACES)
        rows.append({"task": f"{name}, s", "pixels": pixels, "latents": latents, "ratio": pixels / latents})
    pixels, latents = (train_memory(space, sides, device) for space in SPACES)
    rows.append({"task": "train memory, MiB", "pixels": pixels, "latents": latents, "ratio": pixels / max(latents, 1)})
    return [{"sides": "x".join(map(str, sides)), "voxels": int(np.prod(sides)), **row} for row in rows]


def exponents(rows: list[dict]) -> list[dict[str, object]]:
    """Of cost = a * voxels^b, by least squares in the logarithms."""
    fitted = []
    for name in dict.fromkeys(row["task"] for row in rows):
        of_task = [row for row in rows if row["task"] == name and row["sides"].count("x") == 2]
        voxels = np.log([row["voxels"] for row in of_task])
        slopes = {
            space: np.polyfit(voxels, np.log([max(row[space], 1e-9) for row in of_task]), 1)[0] for space in SPACES
        }
        fitted.append({"sides": "exponent", "voxels": "", "task": name, **slopes, "ratio": ""})
    return fitted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 48, 64], help="sides of cubes")
    parser.add_argument("--squares", type=int, nargs="*", default=[128, 256], help="sides of images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="evaluations to invert, and to decode")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--memory_of", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print_train_memory(args.memory_of[0], tuple(map(int, args.memory_of[1:])), args.device)
        return
    volumes = [(side,) * 3 for side in args.sizes]
    if 48 in args.sizes:
        volumes.insert(args.sizes.index(48) + 1, (48, 64, 48))  # the hippocampi's
    rows = []
    for sides in [*volumes, *((side,) * 2 for side in args.squares)]:
        rows += measure(sides, args.rounds, args.steps, args.device)
        for row in rows[-len(TASKS) - 1 :]:
            print(
                f"{row['sides']:>10} {row['task']:<18} {row['pixels']:10.4g} {row['latents']:10.4g} {row['ratio']:8.3g}"
            )
    rows += exponents(rows)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()})


if __name__ == "__main__":
    main()
