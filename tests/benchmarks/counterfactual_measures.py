# SPDX-License-Identifier: Apache-2.0
"""What an edit of one image reached, in numbers; counterfactual_quality.py says what they mean."""

from __future__ import annotations

import numpy as np
import torch
from brain_pairs import MIN_LESION_PIXELS, Place, VentricleRuler, inside_and_outside, ssim_map


def common_measures(place: Place, out: dict, source: str, truth: str, mask: torch.Tensor, goal: float) -> dict:
    """Scores, distance, and errors to the truth inside and outside of a mask."""
    row = {name: float(out[name]) for name in ("score", "score_after", "score_reencoded", "distance", "extrapolation")}
    way = goal - row["score"]
    row["reached"] = float((row["score_reencoded"] - row["score"]) * np.sign(way) >= 0.9 * abs(way))
    true = place.variants[truth]
    for name, image in {
        "edit": out["edit"],
        "source": place.variants[source],
        "reconstruction": out["reconstruction"],
    }.items():
        squared = inside_and_outside((image - true)[0].square(), mask, place.brain)
        row |= {f"{name}_rmse_{where}": value**0.5 for where, value in zip(("inside", "outside"), squared)}
        if name != "reconstruction":
            ssim = inside_and_outside(ssim_map(image, true), mask, place.brain)
            row |= {f"{name}_ssim_{where}": value for where, value in zip(("inside", "outside"), ssim)}
    for m in range(out["kept_before"].numel() if "kept_before" in out else 0):
        for when in ("before", "after", "reencoded"):
            row[f"kept_{m + 1}_{when}"] = float(out[f"kept_{when}"][m])
    return row


def lesion_measures(place: Place, out: dict, source: str, truth: str, target: float | str) -> dict:
    score = float(out["score"])
    goal = {"boundary": 0.0, "across": -score}.get(target, target)
    row = common_measures(place, out, source, truth, place.lesion, goal)
    change = (out["edit"] - place.variants[source])[0]
    true_change = (place.variants[truth] - place.variants[source])[0]
    row["changed"] = float(change[place.lesion].mean() / true_change[place.lesion].mean())
    if source == "with":
        half = (change / true_change)[place.lesion] > 0.5
        row["visible"] = float(half.float().mean() > 0.5)
    else:
        dark = place.side_region & place.brain & (change < -0.5)
        row["visible"] = float(dark.sum() >= MIN_LESION_PIXELS)
    crossed = (row["score_after"] > 0) != (score > 0) if target != "boundary" else True
    row["unseen"] = float(crossed and not row["visible"])
    energy, region = change.square() * place.brain, place.side_region & place.brain
    row["region_share"] = float(energy[region].sum() / energy.sum())
    row["region_of_brain"] = float(region.sum() / place.brain.sum())
    ruler = VentricleRuler(place)
    if source == "with" and ruler.is_usable:
        row["ventricles_mm_error"] = abs(ruler.millimetres(out["edit"]) - place.enlargement_mm)
    return row


def ventricle_measures(place: Place, out: dict, source: str, target: float, goal: float) -> dict:
    """``goal``: the score at which the target in mm is reached."""
    ruler = VentricleRuler(place)
    row = common_measures(place, out, source, f"{target:g}mm", ruler.region, goal)
    row |= {"asked_mm": target, "own_mm": place.enlargement_mm}
    if source == "without":
        row["ventricles_mm"] = ruler.millimetres(out["edit"])
        row["ventricles_mm_error"] = abs(row["ventricles_mm"] - target)
        row["source_mm_error"] = abs(place.enlargement_mm - target)
    else:  # the truth is without the lesion
        row = {name: value for name, value in row.items() if "rmse" not in name and "ssim" not in name}
        true_change = (place.variants["without"] - place.variants["with"])[0][place.lesion].mean()
        change = (out["edit"] - place.variants["with"])[0][place.lesion].mean()
        row["lesion_gone"] = float(change / true_change)
    return row
