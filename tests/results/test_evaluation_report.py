# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import pytest
import torch

from monai_diffae.metrics.evaluation.findings import Curve, Findings, Gallery, Measure, Spread
from monai_diffae.results import EvaluationReport, model_card


def findings(dims: int = 2) -> Findings:
    found = Findings("reconstruction", "Reconstruction", "How <near> it comes.")
    found.measures.append(Measure("psnr", "x_T exact | 20 steps", 40.123456789, 38.0, 42.0, "95 % of images", "dB", 12))
    found.add("mse", "x_T exact", 0.5)
    found.skipped["lpips"] = "the package lpips is not installed"
    found.curves += [
        Curve("quality", name, [10, 100], [20, 30 + k], "evaluations", "PSNR") for k, name in enumerate("ab")
    ]
    found.spreads += [Spread("PSNR of each image", name, [20.0, 30.0, math.inf], "PSNR (dB)") for name in "ab"]
    images = torch.rand(2, 1, *[16] * dims) * 2 - 1
    found.galleries.append(Gallery("pairs", ["one", "other"], [list(images)] * 2, ["", "x"], signed=[1]))
    return found


@pytest.mark.parametrize("dims", [2, 3])
def test_table_page_and_figures_say_what_was_found(tmp_path, dims):
    report = EvaluationReport(tmp_path, {"Model": "A & B"}, y_up=False)
    report.write([findings(dims)])
    with open(tmp_path / "metrics.csv", newline="") as f:
        first, second = csv.DictReader(f)
    assert first == {
        "section": "reconstruction",
        "measure": "psnr",
        "of": "x_T exact | 20 steps",
        "value": "40.1235",
        "low": "38",
        "high": "42",
        "interval": "95 % of images",
        "unit": "dB",
        "count": "12",
    }
    assert second["low"] == ""
    assert second["value"] == "0.5"
    page, text = ((tmp_path / name).read_text() for name in ("index.html", "metrics.md"))
    assert "A &amp; B" in page
    assert "&lt;near&gt;" in page
    assert (
        "| of (n = 12; 95 % of images) | psnr (dB) |\n|---|---|\n| x_T exact \\| 20 steps | 40.12 (38 to 42) |" in text
    )
    assert "<td>x_T exact | 20 steps</td><td class='number'>40.12 (38 to 42)</td>" in page
    for content in (page, text):
        assert "lpips: the package lpips is not installed" in content
    for pattern, content in ((r"src='([^']+)'", page), (r"\]\(([^)]+)\)", text)):
        figures = re.findall(pattern, content)
        assert figures == [f"figures/reconstruction_{name}.png" for name in ("quality", "PSNR_of_each_image", "pairs")]
        assert all((tmp_path / figure).read_bytes().startswith(b"\x89PNG") for figure in figures)
    assert not list(tmp_path.rglob("*.partial"))


def test_a_later_call_replaces_an_earlier_one(tmp_path):
    report = EvaluationReport(tmp_path, {})
    report.write([])
    report.write([findings()])
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3


def test_model_card_says_what_the_metadata_say(tmp_path):
    bundle = tmp_path / "bundle"
    (bundle / "configs").mkdir(parents=True)
    (bundle / "models").mkdir()
    (bundle / "docs").mkdir()
    (bundle / "models" / "model.pt").write_bytes(bytes(2**20))
    metadata = {"name": "N", "data_source": "D", "intended_use": "U", "version": "1"}
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (bundle / "docs" / "training_log.csv").write_text("iteration,images_seen,hours,loss\n1,4,0.1,1\n9,36,0.5,1\n")
    card = model_card(bundle, bundle / "models" / "model.pt", {"Limits": "own"})
    assert card["Trained on"] == "D"
    assert card["Intended use"] == "U"
    assert card["Limits"] == "own"
    assert card["Training"] == "9 iterations, 36 images, 0.5 hours"
    assert card["Weights"] == "model.pt, 1.0 MiB"
    other = Path(tmp_path / "other.pt")
    other.write_bytes(b"1")
    card = model_card(bundle, other)  # the log is of other weights
    assert "Training" not in card
    assert "clinical" in card["Limits"]
