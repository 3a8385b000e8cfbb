# SPDX-License-Identifier: Apache-2.0
"""What is asserted is how processes end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from in_process import run_module
from monai.transforms import Compose, Lambda

from monai_diffae.data import ItemCache

BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_slices_diffae"
SCRIPT = """
import sys, time, torch
from monai.transforms import Compose, Transform
from monai_diffae.data import ItemCache

class Prepare(Transform):
    def __call__(self, item):
        if item == 0:
            time.sleep(0.3)
            raise ValueError("item 0 is refused")
        end = time.time() + 2
        while time.time() < end:
            torch.rand(100_000).sort()
        print("item", item, flush=True)

ItemCache([0, 1, 2, 3], Compose([Prepare()]), num_workers=2)
"""


def test_a_refused_item_ends_the_process_when_the_items_begun_are_done():
    process = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    out, errors = process.stdout.splitlines(), process.stderr.splitlines()
    assert process.returncode == 1
    assert errors[-1].startswith("RuntimeError: applying transform")  # MONAI's, caused by ours
    assert "ValueError: item 0 is refused" in errors
    assert "item 1" in out
    assert "item 3" not in out  # item 2 is begun by the thread whose item was refused


@pytest.mark.parametrize("progress", [False, True])
def test_all_items_are_prepared_in_order(progress):
    cache = ItemCache([3, 1, 2], Compose([Lambda(str)]), num_workers=2, progress=progress)
    assert list(cache) == ["3", "1", "2"]
    assert len(ItemCache([], Compose([Lambda(str)]), progress=progress)) == 0
    assert list(ItemCache([3, 1, 2], Compose([Lambda(str)]), cache_rate=0.4, progress=progress)) == ["3", "1", "2"]


def test_a_run_over_a_folder_with_a_refused_file_ends_with_its_error(tmp_path):
    random = np.random.default_rng(0)
    for name, shape in (("a", (20, 20, 20, 3)), ("b", (64, 64, 64)), ("c", (64, 64, 64))):
        volume = nib.Nifti1Image(random.integers(0, 999, shape).astype(np.int16), np.diag([3.0, 3.0, 3.0, 1.0]))
        nib.save(volume, tmp_path / f"{name}.nii")
    words = ["run", "--bundle_root", str(BUNDLE), "--config_file", str(BUNDLE / "configs" / "inference.yaml")]
    words += ["--dataset_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]
    process = run_module("monai.bundle", *words)
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert last.startswith(f"ValueError: {tmp_path / 'a.nii'} has 3 channels")
    assert last.endswith("name it with channel, 0 to 2; channel is None.")
