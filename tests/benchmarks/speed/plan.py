# SPDX-License-Identifier: Apache-2.0
"""The tasks of the table, in the order in which they matter: what is last is left out when time is up."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from monai_diffae.support.batch_size import find_batch_size

from .ceilings import measure_ceilings
from .round_trip import RECIPES, Recipe, round_trip_rows
from .rows import Row, measured_rows, timing_columns
from .scaling import scaling_rows
from .subjects import AUTHORS, MONAI, OURS, Preset, Subject, autoencoders, flops, latent_denoisers
from .tasks import EVALUATIONS_A_STEP, Work

__all__ = ["Plan"]

BUNDLE = Path(__file__).parents[3] / "bundles" / "natural_images_diffae"
PRECISIONS = ("float32", "bfloat16")
IN_A_ROW = 8  # evaluations of a call of denoising or encoding
QUICK_RECIPES = (Recipe(50, 20), Recipe(10, 10, 1e-2))


@dataclass
class Plan:
    """Networks and sizes, made when they are needed, and the tasks as methods that return rows.

    Args:
        preset: sizes of the networks.
        device: where.
        batch: images of denoising, encoding and training; decoding and inversion take half of it, latents 4 times it.
        rounds: of alternating runs, at most.
        quick: fewer steps and images.
        ceilings: GFLOP/s by precision, once they are measured.
    """

    preset: Preset
    device: torch.device
    batch: int
    rounds: int
    quick: bool
    ceilings: dict[str, float] = field(default_factory=dict)

    @cached_property
    def subjects(self) -> list[Subject]:
        return autoencoders(self.preset, self.device)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.preset.decoder["in_channels"], self.preset.image_size, self.preset.image_size)

    @property
    def z_dim(self) -> int:
        return self.preset.decoder["z_dim"]

    def tasks(self, compiled: bool) -> dict[str, Callable[[float], list[Row]]]:
        """By name, a function of the seconds that are left."""
        found = {
            "ceiling": self.ceiling,
            "denoise": self.denoise,
            "encode": self.encode,
            "train step": self.train,
            "decode": self.decode,
            "exact inversion": self.invert,
            "latent sampling": self.sample_latents,
            "round trip": self.round_trip,
            "scaling": self.scaling,
        }
        if compiled:
            found |= {"compiled denoise": self.compiled_denoise, "compiled encode": self.compiled_encode}
            found |= {"compiled train step": self.compiled_train}
        return found

    def _pairs(self, *names: str) -> list[tuple[Subject, str]]:
        return [(s, precision) for s in self.subjects if s.name in names for precision in PRECISIONS]

    def _operations(self, call_of: Callable[[Subject], Callable]) -> dict[str, float]:
        """Of a call by network. Ours does what the authors' does, whose operations are all counted."""
        counts = {s.name: flops(call_of(s)) for s in self.subjects if s.name != OURS}
        return counts | {OURS: counts[AUTHORS]}

    @cached_property
    def _denoise_operations(self) -> dict[str, float]:
        work = Work(self.device, self.shape, 1)
        return self._operations(lambda s: work.denoise(s, "float32", self.z_dim))

    @cached_property
    def _train_operations(self) -> dict[str, float]:
        work = Work(self.device, self.shape, 1)
        counts = self._operations(lambda s: work.train(s, "float32", optimizer=_still(s)))
        for subject in self.subjects:
            subject.prepare(training=False)
        return counts

    def _rows(
        self,
        task: str,
        calls: Mapping[tuple[str, str], Callable],
        images: int,
        operations: Mapping[str, float],
        seconds_left: float,
        note: str = "",
        repeats: int = 1,
    ) -> list[Row]:
        rows = measured_rows(
            task, calls, images, operations, self.ceilings, self.device, self.rounds, seconds_left, note, repeats
        )
        gc.collect()
        return rows

    def _times(self, operations: Mapping[str, float], factor: float) -> dict[str, float]:
        return {name: factor * value for name, value in operations.items()}

    def ceiling(self, seconds_left: float) -> list[Row]:
        size = 512 if self.quick else 2048
        found = measure_ceilings(self.device, 3 * self.rounds, seconds_left, size)
        return [
            {
                "task": "ceiling",
                "network": operation,
                "precision": precision,
                **timing_columns(timing),
                "gflop_per_second": speed,
            }
            for (operation, precision), (speed, timing) in found.items()
        ]

    def denoise(self, seconds_left: float) -> list[Row]:
        work = Work(self.device, self.shape, self.batch, in_a_row=IN_A_ROW)
        calls = {(s.name, p): work.denoise(s, p, self.z_dim) for s, p in self._pairs(OURS, AUTHORS, MONAI)}
        operations = self._times(self._denoise_operations, self.batch)
        return self._rows("denoise", calls, self.batch, operations, seconds_left, f"{IN_A_ROW} in a row", IN_A_ROW)

    def encode(self, seconds_left: float) -> list[Row]:
        count = flops(Work(self.device, self.shape, 1).encode(self.subjects[1], "float32"))
        found = find_batch_size("auto", self.shape, self.device)
        rows = []
        for batch, task in ((self.batch, "encode"), (found, "encode, batch found")):
            work = Work(self.device, self.shape, batch, in_a_row=IN_A_ROW)
            calls = {(s.name, p): work.encode(s, p) for s, p in self._pairs(OURS, AUTHORS)}
            operations = dict.fromkeys((OURS, AUTHORS), float(count * batch))
            note = f"{IN_A_ROW} in a row"
            rows += self._rows(task, calls, batch, operations, seconds_left / 2, note, IN_A_ROW)
        return rows

    def train(self, seconds_left: float) -> list[Row]:
        operations = self._times(self._train_operations, self.batch)
        work = Work(self.device, self.shape, self.batch)
        optimizers = {s.name: s.optimizer(s.network.parameters()) for s in self.subjects}
        calls = {
            (s.name, p): work.train(s, p, optimizer=optimizers[s.name]) for s, p in self._pairs(OURS, AUTHORS, MONAI)
        }
        rows = self._rows("train step", calls, self.batch, operations, seconds_left)
        for subject in self.subjects:
            subject.prepare(training=False)
        return rows

    def decode(self, seconds_left: float) -> list[Row]:
        steps, images = 5, max(1, self.batch // 2)
        work = Work(self.device, self.shape, images, steps)
        calls = {(s.name, p): work.decode(s, p, self.z_dim) for s, p in self._pairs(OURS, AUTHORS, MONAI)}
        operations = self._times(self._denoise_operations, images * steps)
        return self._rows("decode", calls, images, operations, seconds_left, f"{steps} steps")

    def invert(self, seconds_left: float) -> list[Row]:
        steps, images = 4, max(1, self.batch // 2)
        work = Work(self.device, self.shape, images, steps)
        calls = {(s.name, p): work.invert(s, p, self.z_dim) for s, p in self._pairs(OURS, AUTHORS)}
        spent = next(iter(calls.values()))().evaluations.double().mean().item()
        operations = self._times(self._denoise_operations, images * spent)
        note = f"{steps} steps of {EVALUATIONS_A_STEP} evaluations at most; the authors' network in our loop"
        rows = self._rows("exact inversion", calls, images, operations, seconds_left, note)
        return [row | {"evaluations": spent} for row in rows]

    def sample_latents(self, seconds_left: float) -> list[Row]:
        steps, images, z_dim = 10, 4 * self.batch, self.preset.latent["z_dim"]
        subjects = latent_denoisers(self.preset, self.device)
        work = Work(self.device, (), images, steps)
        calls = {(s.name, p): work.sample_latents(s, p, z_dim) for s in subjects for p in PRECISIONS}
        one = Work(self.device, (), 1, 1)
        counts = {s.name: images * steps * flops(one.sample_latents(s, "float32", z_dim)) for s in subjects}
        return self._rows("latent sampling", calls, images, counts, seconds_left, f"{steps} steps")

    def round_trip(self, seconds_left: float) -> list[Row]:
        recipes, images = (QUICK_RECIPES, 1) if self.quick else (RECIPES, 4)
        return round_trip_rows(BUNDLE, recipes, images, self.device, self.rounds, seconds_left)

    def scaling(self, seconds_left: float) -> list[Row]:
        pairs = [(s, p) for s, p in self._pairs(OURS, AUTHORS) if (s.name, p) != (AUTHORS, "bfloat16")]
        side = self.preset.image_size
        batches, sides, steps = (1, 2, 4, 8), (side // 2, side, 2 * side), (1, 2, 4, 8)

        def denoise(s: Subject, p: str, batch: int, side: int) -> Callable:
            return Work(self.device, (self.shape[0], side, side), batch).denoise(s, p, self.z_dim)

        axes = {
            "batch": ("denoise", {(s.name, p): {n: denoise(s, p, n, side) for n in batches} for s, p in pairs}),
            "side of the image": (
                "denoise, batch 1",
                {(s.name, p): {n: denoise(s, p, 1, n) for n in sides} for s, p in pairs},
            ),
            "steps": (
                "decode, batch 1",
                {
                    (s.name, p): {n: Work(self.device, self.shape, 1, n).decode(s, p, self.z_dim) for n in steps}
                    for s, p in pairs
                },
            ),
        }
        rows = []
        for axis, (note, calls) in axes.items():
            rows += scaling_rows(axis, calls, self.device, self.rounds, seconds_left / len(axes), note)
        return rows

    def _compiled(
        self, make: Callable[[Subject, str, Callable | None], Callable], target: Callable
    ) -> dict[tuple[str, str], Callable]:
        ours, authors, _ = self.subjects
        function = torch.compile(target, dynamic=False)
        calls = {(OURS, f"{p}, compiled"): make(ours, p, function) for p in PRECISIONS}
        return calls | {(AUTHORS, "float32"): make(authors, "float32", None)}

    def compiled_denoise(self, seconds_left: float) -> list[Row]:
        work = Work(self.device, self.shape, self.batch, in_a_row=IN_A_ROW)
        calls = self._compiled(
            lambda s, p, function: work.denoise(s, p, self.z_dim, function), self.subjects[0].network.decoder
        )
        operations = self._times(self._denoise_operations, self.batch)
        return self._rows(
            "denoise, compiled", calls, self.batch, operations, seconds_left, f"{IN_A_ROW} in a row", IN_A_ROW
        )

    def compiled_encode(self, seconds_left: float) -> list[Row]:
        work = Work(self.device, self.shape, self.batch, in_a_row=IN_A_ROW)
        calls = self._compiled(work.encode, self.subjects[0].network.encoder)
        count = flops(Work(self.device, self.shape, 1).encode(self.subjects[1], "float32"))
        operations = dict.fromkeys((OURS, AUTHORS), float(count * self.batch))
        return self._rows(
            "encode, compiled", calls, self.batch, operations, seconds_left, f"{IN_A_ROW} in a row", IN_A_ROW
        )

    def compiled_train(self, seconds_left: float) -> list[Row]:
        operations = self._times(self._train_operations, self.batch)
        work = Work(self.device, self.shape, self.batch)
        optimizers = {s.name: s.optimizer(s.network.parameters()) for s in self.subjects[:2]}
        calls = self._compiled(
            lambda s, p, function: work.train(s, p, function, optimizers[s.name]), self.subjects[0].network
        )
        rows = self._rows("train step, compiled", calls, self.batch, operations, seconds_left)
        for subject in self.subjects:
            subject.prepare(training=False)
        return rows


def _still(subject: Subject) -> torch.optim.Optimizer:
    """Steps that leave the weights as they are and keep nothing of them, for a step that is counted only."""
    return torch.optim.SGD(subject.network.parameters(), lr=0.0)
