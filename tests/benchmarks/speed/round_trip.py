# SPDX-License-Identifier: Apache-2.0
"""Time to a reconstruction of 40 dB: the authors' recipe, explicit inversion and 250 + 100 steps, against exact x_T."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn as nn
from monai.bundle import ConfigParser
from monai.metrics import PSNRMetric

from monai_diffae.checkpoints import load_weights
from monai_diffae.datasets import load_digits_arrays
from monai_diffae.inferers import DiffusionAutoencoderInferer

from .clock import alternate
from .plain_network import plain_copy
from .rows import Row, timing_columns
from .subjects import AUTHORS, OURS

__all__ = ["DECIBELS", "RECIPES", "Recipe", "round_trip_rows"]

DECIBELS = 40.0
TASK = f"time to {DECIBELS:g} dB"


@dataclass(frozen=True)
class Recipe:
    """How x_T is found and decoded; ``tolerance`` for exact inversion."""

    encode: int
    decode: int
    tolerance: float | None = None
    precision: str = "float32"

    def __str__(self) -> str:
        how = "explicit" if self.tolerance is None else f"exact, tolerance {self.tolerance:g}"
        return f"{how}, {self.encode} + {self.decode} steps"

    def inferer(self, scheduler: nn.Module) -> DiffusionAutoencoderInferer:
        exact = self.tolerance is not None
        return DiffusionAutoencoderInferer(
            scheduler,
            self.decode,
            None if exact else self.encode,
            inversion="exact" if exact else "explicit",
            tolerance=self.tolerance or 1e-3,
            precision=self.precision,
            verbose=False,
        )


RECIPES = (
    Recipe(250, 100),
    Recipe(20, 20, 1e-2),
    Recipe(10, 10, 1e-2),
    Recipe(10, 10, 1e-2, "bfloat16"),
    Recipe(5, 5, 1e-2),
)


def round_trip_rows(
    bundle: Path, recipes: tuple[Recipe, ...], num_images: int, device: torch.device, rounds: int, seconds_left: float
) -> list[Row]:
    """One row for each recipe, on test digits and the weights of the bundle for pictures.

    The first recipe is run by the authors' network computed their way, the others by ours; same weights.

    Args:
        bundle: its folder.
        recipes: to time.
        num_images: one batch.
        device: where.
        rounds: of alternating runs, at most.
        seconds_left: for all of it.
    """
    config = ConfigParser()
    config.read_config(bundle / "configs" / "inference.yaml")
    network = load_weights(config.get_parsed_content("network_def"), bundle / "models" / "model.pt").eval().to(device)
    settings = [
        {key: config.get_parsed_content(f"network_def::{part}::{key}") for key in config["network_def"][part]}
        for part in ("encoder", "decoder")
    ]
    plain = plain_copy(network, *settings)
    network.to(memory_format=torch.channels_last)
    digits = load_digits_arrays("test")[0]
    images = digits[:: max(1, len(digits) // num_images)][:num_images].to(device)
    psnr = PSNRMetric(max_val=2.0, reduction="none")

    def trip(recipe: Recipe) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        by = plain if recipe == recipes[0] else network
        inferer = recipe.inferer(config.get_parsed_content("scheduler"))

        @torch.no_grad()
        def call() -> tuple[torch.Tensor, torch.Tensor]:
            z_sem = by.encode(images)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # bfloat16 may miss the tolerance; PSNR tells
                found = inferer.invert_with_report(images, by, z_sem)
            return inferer.decode(z_sem, found.x_T, by), found.evaluations + recipe.decode

        return call

    calls = {recipe: trip(recipe) for recipe in recipes}
    results = {recipe: call() for recipe, call in calls.items()}
    timings = alternate(calls, device, rounds, seconds_left)
    rows = []
    for recipe, timing in timings.items():
        decoded, evaluations = results[recipe]
        decibels = psnr(decoded, images)
        rows.append(
            {
                "task": TASK,
                "network": AUTHORS if recipe == recipes[0] else OURS,
                "precision": recipe.precision,
                "batch": num_images,
                **timing_columns(timing),
                "images_per_second": num_images / timing.median,
                "speed_over_authors_float32": timings[recipes[0]].median / timing.median,
                "evaluations": float(evaluations.double().mean()),
                "psnr": float(decibels.mean()),
                "worst_psnr": float(decibels.min()),
                "note": f"{recipe}; shipped digits weights",
            }
        )
    return rows
