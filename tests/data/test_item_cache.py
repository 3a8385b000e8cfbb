# SPDX-License-Identifier: Apache-2.0
"""What is asserted is how processes end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from in_process import run_module
from monai.transforms import Compose, Lambda, Randomizable, Transform

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


class Counted:
    """Makes an array of 1,000 bytes of a number, and remembers which."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, number: int) -> dict:
        self.asked.append(number)
        return {"image": torch.full((1, 250), float(number)), "name": str(number)}


@pytest.mark.parametrize("runtime_cache", [False, True])
@pytest.mark.parametrize(("max_gigabytes", "kept"), [(None, 7), (1, 7), (3.5e-6, 3), (1e-6, 1), (0, 0)])
def test_as_many_items_are_kept_as_the_memory_holds(max_gigabytes, kept, runtime_cache, caplog):
    prepare = Counted()
    cache = ItemCache(
        range(7),
        Compose([Lambda(prepare)]),
        max_gigabytes=max_gigabytes,
        runtime_cache=runtime_cache,
        progress=False,
    )
    for _ in range(3):
        assert [int(item["image"][0, 0]) for item in cache] == [0, 1, 2, 3, 4, 5, 6]
    assert int(cache[-1]["image"][0, 0]) == 6
    assert ("No more of 7 prepared images fit" in caplog.text) == (kept < 7)
    assert len([record for record in caplog.records if "No more" in record.message]) == (kept < 7)
    counts = [prepare.asked.count(number) for number in range(7)]
    assert counts[:kept] == [1] * kept
    assert all(count >= 3 for count in counts[kept:])


def test_items_without_room_are_prepared_once_for_all_their_slices():
    prepare = Counted()
    cache = ItemCache(range(3), Compose([Lambda(prepare)]), max_gigabytes=0, progress=False)
    prepare.asked.clear()
    assert [int(cache[index]["image"][0, 0]) for index in (0, 0, 0, 1, 1, 0, 2, 2)] == [0, 0, 0, 1, 1, 0, 2, 2]
    assert prepare.asked == [0, 1, 2]


def test_random_transforms_stay_random_without_room():
    cache = ItemCache(range(2), Compose([Lambda(Counted()), RandScaled()]), max_gigabytes=0, progress=False)
    assert len({float(cache[1]["image"][0, 0]) for _ in range(5)}) == 5


class RandScaled(Randomizable, Transform):
    def __call__(self, item: dict) -> dict:
        return item | {"image": item["image"] * self.R.random()}


def test_less_than_no_room_is_refused():
    with pytest.raises(
        ValueError,
        match="must be 0 or more, or None for half of what is free; got -1",
    ):
        ItemCache([1], Compose([Lambda(str)]), max_gigabytes=-1)


def test_a_run_over_a_folder_with_a_refused_file_ends_with_its_error(tmp_path):
    random = np.random.default_rng(0)
    for name, shape in (("a", (20, 20, 20, 3)), ("b", (64, 64, 64)), ("c", (64, 64, 64))):
        volume = nib.Nifti1Image(random.integers(0, 999, shape).astype(np.int16), np.diag([3.0, 3.0, 3.0, 1.0]))
        nib.save(volume, tmp_path / f"{name}.nii")
    words = ["run", "--bundle_root", str(BUNDLE), "--config_file", str(BUNDLE / "configs" / "inference.yaml")]
    words += ["--dataset_dir", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--on_error", "stop"]
    process = run_module("monai.bundle", *words)
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert last.startswith(f"ValueError: {tmp_path / 'a.nii'} has 3 channels")
    assert "name it with channel, 0 to 2; channel is None. Mend or remove the file" in last
