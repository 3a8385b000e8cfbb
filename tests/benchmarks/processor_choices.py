# SPDX-License-Identifier: Apache-2.0
"""What the networks' choices for processors are worth: ratios of alternating runs, with the sizes of a preset.

    python tests/benchmarks/processor_choices.py

Written to tests/benchmarks/results/processor_choices.csv. Each row is a choice, a task in a precision, and the speed
with the choice over that without it: attention in steps (bfloat16), group normalisation through float32 (bfloat16,
channels-last), draws of dropout that four values share (training), and contiguous memory in training, channels-last in
inference.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch
import torch.nn as nn
import torch.nn.functional as F
from speed.clock import seconds
from speed.subjects import Preset, Subject, autoencoders
from speed.tasks import Work
from tqdm import tqdm

from monai_diffae.networks import attention
from monai_diffae.networks.dropout import Dropout
from monai_diffae.networks.group_norm import GroupNorm
from monai_diffae.support.atomic_files import replacing

RESULTS = Path(__file__).parent / "results"
WITHOUT = {
    "attention in steps": patch.object(attention, "attention", F.scaled_dot_product_attention),
    "group norm through float32": patch.object(GroupNorm, "forward", nn.GroupNorm.forward),
    "shared draws of dropout": patch.object(Dropout, "forward", nn.Dropout.forward),
    "memory format": nullcontext(),
}
TASKS = {
    "attention in steps": [("denoise", "bfloat16"), ("encode", "bfloat16"), ("train", "bfloat16")],
    "group norm through float32": [("denoise", "bfloat16"), ("encode", "bfloat16")],
    "shared draws of dropout": [("train", "float32"), ("train", "bfloat16")],
    "memory format": [(t, p) for t in ("denoise", "encode", "train") for p in ("float32", "bfloat16")],
}
DEVICE = torch.device("cpu")


def measured(subjects: list[Subject], without: AbstractContextManager, call_of: Callable, rounds: int) -> list[float]:
    """Median seconds of the call of the first subject, and of that of the second inside ``without``."""
    found: list[list[float]] = [[], []]
    for _ in range(rounds):
        for subject, context, values in zip(subjects, (nullcontext(), without), found):
            call = call_of(subject)
            with context:
                call()  # what is made for the first time after a change is not counted
                values.append(seconds(call, DEVICE))
    return [median(values) for values in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="celeba64", help="of bundles/natural_images_diffae/configs/presets")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS / "processor_choices.csv")
    args = parser.parse_args()
    preset = Preset.read(args.preset)
    ours = autoencoders(preset, DEVICE)[0]
    other = replace(ours, memory_format=ours.training_format, training_format=ours.memory_format)
    work = Work(DEVICE, (preset.decoder["in_channels"], *[preset.image_size] * 2), args.batch, in_a_row=8)
    optimizer = ours.optimizer(ours.network.parameters())

    def call_of(subject: Subject, task: str, precision: str) -> Callable[[], object]:
        if task == "train":
            return work.train(subject, precision, optimizer=optimizer)
        subject.prepare(training=False)
        if task == "encode":
            return work.encode(subject, precision)
        return work.denoise(subject, precision, preset.decoder["z_dim"])

    rows = []
    for choice, task, precision in tqdm([(c, *t) for c, tasks in TASKS.items() for t in tasks], unit="row"):
        subjects = [ours, other if choice == "memory format" else ours]
        call = partial(call_of, task=task, precision=precision)
        with_it, without_it = measured(subjects, WITHOUT[choice], call, args.rounds)
        rows.append({"choice": choice, "task": task, "precision": precision, "speed": f"{without_it / with_it:.3f}"})
        tqdm.write(str(rows[-1]))
    with replacing(args.output) as unfinished, open(unfinished, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
