# SPDX-License-Identifier: Apache-2.0
"""What the choices that inference makes are worth, on a bundle's shipped network: ratios of alternating runs.

    python tests/benchmarks/inference_choices.py --bundle natural_images_diffae [--compile]

Written to the bundle's docs/inference_choices.csv. Each row is a choice and the time that it takes relative to what it
replaces, for one denoising step (lower is better): memory in channels_last; inference_mode in place of no_grad;
bfloat16 with weights cast in each step and once. "share" rows: part of a step spent on what z_sem adds to each block,
which does not change over the steps. "batch" rows: time an image relative to a batch of 16. With --compile: the step
relative to eager, and the seconds until it is compiled.

On a CPU one thread computes, and times are those of the process, so that other programs count little.
"""

from __future__ import annotations

import argparse
import copy
import csv
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser

import monai_diffae
from monai_diffae.networks.blocks import ConditionedResidualBlock
from monai_diffae.support.atomic_files import replacing
from monai_diffae.support.precision import mixed_precision, shared_casts

BUNDLES = Path(__file__).parents[2] / "bundles"


def now(device: torch.device) -> float:
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def times(device: torch.device, repeats: int, *functions: Callable[[], object]) -> list[float]:
    """Median seconds of each function, run in turn, after a first run that is not counted."""
    found = [[] for _ in functions]
    for repeat in range(repeats + 1):
        for function, seconds in zip(functions, found):
            start = now(device)
            function()
            if repeat:
                seconds.append(now(device) - start)
    return [median(seconds) for seconds in found]


class Choices:
    def __init__(self, args: argparse.Namespace) -> None:
        parser = ConfigParser()
        parser.read_config(BUNDLES / args.bundle / "configs" / "inference.yaml")
        self.device, self.repeats = torch.device(args.device), args.repeats
        self.network = parser.get_parsed_content("network_def").to(self.device).eval()
        monai_diffae.checkpoints.load_weights(self.network, BUNDLES / args.bundle / "models" / "model.pt")
        self.shape = parser.get_parsed_content("image_shape")
        self.rows: list[dict] = []

    def inputs(self, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = torch.randn(batch, *self.shape, device=self.device)
        z_sem = torch.randn(batch, self.network.decoder.z_dim, device=self.device)
        return x, torch.tensor([500], device=self.device), z_sem

    def step(self, network: torch.nn.Module, batch: int, precision: str = "float32", mode=torch.inference_mode):
        inputs = self.inputs(batch)

        def run() -> None:
            with mode(), mixed_precision(precision, self.device):
                network.decoder(*inputs)

        return run

    def add(self, choice: str, value: float) -> None:
        self.rows.append({"choice": choice, "value": round(value, 4)})
        print(f"{choice:60} {value:10.4f}", flush=True)

    def compare(self, choice: str, before: Callable, after: Callable) -> None:
        first, second = times(self.device, self.repeats, before, after)
        self.add(choice, second / first)

    def measure(self) -> None:
        last = copy.deepcopy(self.network).to(memory_format=torch.channels_last)
        for precision in ("float32", "bfloat16"):
            self.compare(
                f"channels_last, {precision}, batch of 8",
                self.step(self.network, 8, precision),
                self.step(last, 8, precision),
            )
        for batch in (1, 8):
            eager = self.step(last, batch, mode=torch.no_grad)
            self.compare(f"inference_mode, batch of {batch}", eager, self.step(last, batch))
            self.compare(
                f"bfloat16, cast in each step, batch of {batch}",
                self.step(last, batch),
                self.step(last, batch, "bfloat16"),
            )
            with shared_casts("bfloat16", self.device):
                self.compare(
                    f"bfloat16, cast once, batch of {batch}",
                    self.step(last, batch, "float32", torch.no_grad),
                    self.step(last, batch, "bfloat16", torch.no_grad),
                )
        self.share_of_z_sem(last)
        per_image = {}
        for batch in (1, 2, 4, 8, 16, 32, 64):
            per_image[batch] = times(self.device, max(self.repeats // 2, 1), self.step(last, batch))[0] / batch
        for batch, seconds in per_image.items():
            self.add(f"batch of {batch}", seconds / per_image[16])

    def share_of_z_sem(self, network: torch.nn.Module) -> None:
        blocks = [block for block in network.decoder.modules() if isinstance(block, ConditionedResidualBlock)]
        for batch in (1, 16):
            z_sem = self.inputs(batch)[2]

            def project(z_sem: torch.Tensor = z_sem) -> None:
                with torch.inference_mode():
                    for block in blocks:
                        1 + block.z_proj(F.silu(z_sem))

            whole, part = times(self.device, self.repeats, self.step(network, batch), project)
            self.add(f"share of z_sem's projections, batch of {batch}", part / whole)

    def compiled(self) -> None:
        last = copy.deepcopy(self.network).to(memory_format=torch.channels_last)
        compiled = monai_diffae.networks.compile_network(copy.deepcopy(last))
        step, start = self.step(compiled, 8), time.perf_counter()
        step()
        self.add("seconds until the decoder is compiled", time.perf_counter() - start)
        self.compare("compiled, batch of 8", self.step(last, 8), step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="natural_images_diffae", help="name of a folder in bundles/")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    choices = Choices(args)
    choices.measure()
    if args.compile:
        choices.compiled()
    path = BUNDLES / args.bundle / "docs" / "inference_choices.csv"
    with replacing(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, ["choice", "value"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(choices.rows)


if __name__ == "__main__":
    main()
