# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/paper_rows.md, on a small file of the authors' format and small faces."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import run_module
from PIL import Image
from skimage.data import lfw_subset

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "bundles" / "natural_images_diffae"
PAGE = (ROOT / "docs" / "paper_rows.md").read_text(encoding="utf-8")
COMMANDS = dict(
    zip(
        ("convert", "samples", "of_a_class", "reconstruction", "representation"),
        re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL),
        strict=True,
    )
)
SMALL = {  # in place of what takes a GPU
    "num_samples": 8,
    "num_images": 8,
    "num_inference_steps": 10,
    "num_inversion_steps": 10,
    "step_counts": "[10]",
    "num_latent_inference_steps": 10,
    "num_draws": 3,
    "device": "cpu",
    "progress": False,
}


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("paper_rows")
    (folder / "last.ckpt").write_bytes((ROOT / "tests" / "data" / "official_small" / "last.ckpt").read_bytes())
    (folder / "FACES").mkdir()
    rows = ["file,Male,Smiling"]
    for k, pixels in enumerate((255 * lfw_subset()[:12]).astype(np.uint8)):
        Image.fromarray(pixels).convert("RGB").save(folder / "FACES" / f"{k:02d}.png")
        rows.append(f"{k:02d}.png,{k % 2},{k // 2 % 2}")
    (folder / "FACES" / "LABELS.csv").write_text("\n".join(rows) + "\n")
    pool = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    torch.jit.trace(pool, torch.zeros(2, 3, 16, 16)).save(str(folder / "INCEPTION.pt"))
    done = run(folder, "convert")
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, name: str):
    """A command of the page with its placeholders filled in and its numbers made small."""
    text = COMMANDS[name].replace("\\\n", " ").replace("$B", str(BUNDLE))
    text = re.sub(r"\b(FFHQ|CELEBA|CELEBAHQ)\b", str(folder / "FACES"), text)
    text = text.replace("LABELS.csv", str(folder / "FACES" / "LABELS.csv")).replace(" OUT ", f" {folder / name} ")
    text = text.replace("INCEPTION.pt", str(folder / "INCEPTION.pt"))
    python, module_flag, module, *words = shlex.split(text)
    assert (python, module_flag) == ("python", "-m")
    words = [word.replace("CONVERTED", str(folder / "CONVERTED")) for word in words]
    if module == "monai.bundle":
        configs = " ".join(Path(path).read_text() for path in re.findall(r"'([^']+\.yaml)'", " ".join(words)))
        for option, value in SMALL.items():
            if re.search(rf"^{option}:", configs, flags=re.MULTILINE):
                if f"--{option}" in words:
                    words[words.index(f"--{option}") + 1] = str(value)
                else:
                    words += [f"--{option}", str(value)]
    return run_module(module, *words, cwd=folder)


def measured(folder: Path, name: str) -> set[tuple[str, str]]:
    done = run(folder, name)
    assert done.returncode == 0, done.stderr[-2000:]
    with open(folder / name / "metrics.csv", newline="") as f:
        return {(row["measure"], row["of"]) for row in csv.DictReader(f)}


def test_samples(stand_ins):
    assert ("Frechet distance", "samples to held-out, features that were given") in measured(stand_ins, "samples")


def test_samples_of_a_class_and_their_distance(stand_ins, monkeypatch):
    done = run(stand_ins, "of_a_class")
    assert done.returncode == 0, done.stderr[-2000:]
    monkeypatch.chdir(stand_ins)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    code = code.replace('"OUT/samples"', repr(str(stand_ins / "of_a_class" / "samples"))).replace("CLASS", "FACES")
    names: dict = {}
    exec(compile(code, "paper_rows.md", "exec"), names)
    assert names["encode"](stand_ins / "of_a_class" / "samples").shape == (8, 12)
    assert np.isfinite(names["distance"])
    assert names["distance"] > 0


def test_reconstruction(stand_ins):
    found = measured(stand_ins, "reconstruction")
    assert {of for measure, of in found if measure == "ssim"} >= {"x_T explicit, 10 steps", "x_T random, 10 steps"}
    page = (stand_ins / "reconstruction" / "metrics.md").read_text()
    assert "lpips" in page  # measured, or said to be skipped


def test_representation(stand_ins):
    found = measured(stand_ins, "representation")
    assert {"f1", "DCI disentanglement"} <= {measure for measure, _ in found}
