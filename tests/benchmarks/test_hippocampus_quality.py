# SPDX-License-Identifier: Apache-2.0
"""The measures of hippocampi on drawn ones: every row is there, and what the judge says of counterfactuals adds up."""

import csv
import json
import sys

import hippocampus_quality
import nibabel as nib
import numpy as np
import pytest
import torch
from hippocampi import write_hippocampi
from monai.bundle import ConfigParser
from tiny import TINY

from monai_diffae.semantics import AttributeDirections, AttributeSummary, LatentStatistics

QUICK = TINY | {"num_inference_steps": 1, "inversion": "explicit", "num_slices": 2}


@pytest.fixture(scope="module")
def hippocampi(tmp_path_factory):
    return write_hippocampi(tmp_path_factory.mktemp("data"), num_train=6, num_test=2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    config = ConfigParser()
    config.read_config(str(hippocampus_quality.BUNDLE / "configs" / "inference.yaml"))
    for key, value in QUICK.items():
        config[key] = value
    torch.manual_seed(0)
    network = config.get_parsed_content("network_def")
    torch.save(network.state_dict(), folder / "model.pt")
    summary = AttributeSummary(kind="continuous", score_min=0.0, score_max=5.0, score_mean=3.0, score_std=1.0)
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8))
    directions = AttributeDirections(
        ["volume_ml"], torch.ones(1, 8), torch.tensor([3.0]), statistics, {"volume_ml": summary}
    )
    directions.save(folder / "attributes.pt")
    return folder / "model.pt"


def test_every_row_is_measured_and_rows_of_other_models_stay(hippocampi, weights, tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_text("model,of,measure,value,low,high,count\nvolumes,judge,dice,0.9,,,2\n")
    words = f"--dataset_dir {hippocampi} --ckpt_path {weights} --output_dir {tmp_path} --output {tmp_path}/table.csv"
    words += " --judge_iterations 1 --shares 0.8 --device cpu --attribute volume_ml"
    monkeypatch.setattr(sys, "argv", ["x", *words.split(), "--options", json.dumps(QUICK)])
    hippocampus_quality.main()
    with open(tmp_path / "table.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert rows[0] == {
        "model": "volumes", "of": "judge", "measure": "dice", "value": "0.9", "low": "", "high": "", "count": "2"
    }  # fmt: skip
    found = {(row["of"], row["measure"]): row["value"] for row in rows[1:]}
    assert {of for of, _ in found if of.startswith("volume_ml")} == {
        f"volume_ml, {name}" for name in ("z_sem", "untrained encoder", "8 components", "size of the crop")
    }
    assert ("volume_ml, size of the crop", "difference") in found
    assert ("anterior_share, z_sem", "seen r2") in found
    assert ("judge, images scaled", "measured at 80 %") in found
    (of,) = {of for of, measure in found if measure == "slope"} - {"judge, images scaled"}
    assert {measure for each, measure in found if each == of} == {
        "slope", "mean error", "measured at 80 %", "change outside"
    }  # fmt: skip
    assert len(list((tmp_path / "counterfactual_80").rglob("*_edit.nii.gz"))) == 4


class CountingJudge:
    """Sees a hippocampus in all bright voxels."""

    def measure(self, path):
        return {"volume_ml": float((nib.load(path).get_fdata() > 100).sum()) / 1000}


def test_a_judge_that_counts_voxels_sees_scaled_images_as_they_are(tmp_path):
    place = (np.indices((40, 44, 36)).reshape(3, -1).T - [18, 25, 16]) / [8, 12, 7]
    mask = (np.linalg.norm(place, axis=1) < 1).reshape(40, 44, 36).astype(np.uint8)
    for name, array in (("image", 200 * mask.astype(np.float32)), ("mask", mask)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii.gz")
    item = {"image": str(tmp_path / "image.nii.gz"), "mask": str(tmp_path / "mask.nii.gz")}
    rows = hippocampus_quality.judged_scaling(CountingJudge(), [item], (0.8, 1.2), tmp_path)
    values = {row["measure"]: float(row["value"]) for row in rows}
    assert values["slope"] == pytest.approx(1, abs=0.1)
    assert values["measured at 80 %"] == pytest.approx(0.8, abs=0.03)
    assert not (tmp_path / "scaled.nii.gz").exists()


def test_what_lies_further_than_3_mm_is_outside(tmp_path):
    mask = np.zeros((20, 20, 20), dtype=np.uint8)
    mask[10, 10, 10] = 1
    before = np.zeros(mask.shape, dtype=np.float32)
    after = before.copy()
    after[10, 10, 10:14] = 1.0  # up to 3 mm away
    after[10, 10, 14] = 2.0
    for name, array in (("mask", mask), ("before", before), ("after", after)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii.gz")
    share = hippocampus_quality.share_outside(
        tmp_path / "after.nii.gz", tmp_path / "before.nii.gz", str(tmp_path / "mask.nii.gz")
    )
    assert share == pytest.approx(4 / 8)
