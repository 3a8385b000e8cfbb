# SPDX-License-Identifier: Apache-2.0
"""What the project wants to reach, and what the rows say of it."""

from __future__ import annotations

from .round_trip import DECIBELS, TASK
from .rows import Row
from .subjects import AUTHORS, OURS

__all__ = ["goals"]

_LEAST = {
    ("denoise", "float32"): 1.0,
    ("encode", "float32"): 1.0,
    ("encode, batch found", "float32"): 1.0,
    ("train step", "float32"): 1.0,
    ("decode", "float32"): 1.0,
    ("denoise", "bfloat16"): 2.0,
    ("encode", "bfloat16"): 2.0,
    ("encode, batch found", "bfloat16"): 2.0,
    ("train step", "bfloat16"): 1.6,
}
_TIMES_LESS = 8.0


def goals(rows: list[Row]) -> list[str]:
    """One sentence a goal, for those whose rows are there."""
    found = {(row["task"], row["precision"]): row for row in rows if row["network"] == OURS}
    sentences = []
    for (task, precision), least in _LEAST.items():
        if row := found.get((task, precision)):
            speed = row["speed_over_authors_float32"]
            reached = "reached" if speed >= least else "missed"
            sentences.append(
                f"{task}, {precision}: {speed:.2f} times the authors' float32; wanted {least:g}: {reached}."
            )
    trips = [row for row in rows if row["task"] == TASK]
    good = [row for row in trips if row["network"] == OURS and row["worst_psnr"] >= DECIBELS]
    authors = next((row for row in trips if row["network"] == AUTHORS), None)
    if authors:
        best = max(good, key=lambda row: row["speed_over_authors_float32"], default=None)
        if best is None:
            sentences.append(f"{TASK}: no recipe of ours brings every image to it: missed.")
        else:
            less = best["speed_over_authors_float32"]
            reached = "reached" if less >= _TIMES_LESS else "missed"
            how = f"{best['note']}, {best['precision']}"
            decibels = f"worst image {best['worst_psnr']:.1f} dB, theirs {authors['worst_psnr']:.1f} dB"
            sentences.append(
                f"{TASK}: {less:.1f} times less than the authors' recipe ({how}: {decibels}); "
                f"wanted {_TIMES_LESS:g}: {reached}."
            )
    return sentences
