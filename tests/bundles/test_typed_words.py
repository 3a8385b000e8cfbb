# SPDX-License-Identifier: Apache-2.0
"""Words of the command line, as users type them: folders and attributes that look like numbers, one name for a list."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from latent_workflows import Bundle, read_table
from PIL import Image


def type_command(bundle: Bundle, names: tuple[str, ...], *words: str) -> None:
    """``python -m monai.bundle run`` in this process."""
    files = [str(bundle.configs / f"{name}.yaml") for name in names]
    options = {"bundle_root": str(bundle.root), "config_file": str(files), "logging_file": "False"} | bundle.options
    given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["monai.bundle", "run", *given, *words])
        patch.setattr(sys, "excepthook", sys.excepthook)
        runpy.run_module("monai.bundle", run_name="__main__")


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_pictures(tmp_path, monkeypatch, random):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2023_01").mkdir()
    for k in range(12):
        Image.fromarray(random.integers(0, 255, (20, 20), dtype=np.uint8)).save(tmp_path / "2023_01" / f"{k}.png")
    rows = "".join(f"{k}.png,{k % 2}\n" for k in range(12))
    (tmp_path / "2023_01" / "labels.csv").write_text("file,hand\n" + rows)
    options = {"z_dim": 8, "image_size": 16, "progress": False, "batch_size": 4, "num_inference_steps": 1}
    bundle = Bundle("natural_images_diffae", tmp_path, **options)
    folders = ("--dataset_dir", "2023_01", "--output_dir", "2024")
    type_command(bundle, ("inference", "fit_attributes"), *folders, "--attributes", "hand")
    (row,) = read_table(tmp_path / "2024" / "attributes.csv")
    assert (row["attribute"], row["labels"]) == ("hand", "12")
    assert [row["file"] for row in read_table(tmp_path / "2024" / "latents.csv")] == sorted(
        f"{k}.png" for k in range(12)
    )


def test_volumes(tmp_path, monkeypatch, random):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1e3").mkdir()
    for k in range(6):
        volume = random.uniform(1, 100, (12, 12, 12)).astype(np.float32)
        nib.save(nib.Nifti1Image(volume, np.diag([6.0, 6, 6, 1])), tmp_path / "1e3" / f"{k}.nii.gz")
    (tmp_path / "1e3" / "labels.csv").write_text("file;7\n" + "".join(f"{k}.nii.gz;{k},5\n" for k in range(6)))
    options = {"z_dim": 8, "image_size": 32, "pixdim": 6.0, "progress": False, "batch_size": 4}
    options |= {"num_inference_steps": 1, "inversion": "explicit", "num_slices": 1, "volume_figures": False}
    bundle = Bundle("brain_slices_diffae", tmp_path, **options).randomize()
    folders = ("--dataset_dir=1e3", "--output_dir=01")
    type_command(bundle, ("inference", "fit_attributes"), *folders, "--attributes", "7", "--mask_labels", "[]")
    type_command(
        bundle, ("inference", "manipulate"), *folders, "--attribute", "7", "--amount", "0.3",
        "--attributes_path", "01/attributes.pt",
    )  # fmt: skip
    (row,) = read_table(tmp_path / "01" / "attributes.csv")
    assert (row["attribute"], row["kind"], row["labels"]) == ("7", "continuous", "6")
    assert {row["attribute"] for row in read_table(tmp_path / "01" / "edits.csv")} == {"7"}
    assert len(list((tmp_path / "01").glob("*_edit.nii.gz"))) == 6
    assert {path.name for path in tmp_path.iterdir()} == {"1e3", "01", "model.pt"}


def test_no_part_takes_a_folder_as_it_is_given():
    parts = Path(__file__).parents[2] / "monai_diffae" / "bundles" / "parts"
    used = [line for file in parts.rglob("*.yaml") for line in file.read_text().splitlines()]
    used = [line for line in used if "@output_dir" in line or "@dataset_dir" in line]
    assert len(used) == 2
    assert all("as_typed(" in line for line in used)
