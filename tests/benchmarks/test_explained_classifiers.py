# SPDX-License-Identifier: Apache-2.0
"""A DenseNet121 is trained, exported and explained; on drawn pictures and a tiny network."""

import csv
import json

import explained_classifiers
import torch
from conftest import randomize
from monai.bundle import ConfigParser
from pictures_like_mednist import write_pictures_like_mednist
from tiny import TINY

from monai_diffae.bundles import find_bundle


def test_a_densenet_is_trained_once_and_explained(tmp_path):
    config = ConfigParser()
    config.read_config(str(find_bundle("mednist_diffae") / "configs" / "inference.yaml"))
    config.update(TINY)
    torch.manual_seed(0)
    torch.save(randomize(config.get_parsed_content("network_def")).state_dict(), tmp_path / "model.pt")
    data = write_pictures_like_mednist(tmp_path / "data")
    few = TINY | {"num_inference_steps": 1, "inversion": "explicit", "num_steps": 2, "max_aims": 1, "progress": False}
    words = f"mednist_diffae --dataset_dir {data} --label is_Hand --output_dir {tmp_path}/out --num_images 4"
    words += f" --images_seen 64 --ckpt_path {tmp_path}/model.pt"
    explained_classifiers.main([*words.split(), "--options", json.dumps(few)])
    with open(tmp_path / "out" / "explanations.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    found = {(row["of"], row["measure"]): row for row in rows}
    assert found["DenseNet121 on withheld images", "auroc"]["count"] == "12"
    measures = {row["measure"] for row in rows}
    assert {"accuracy", "flip rate", "distance", "share that it says yes to"} <= measures
    classifier = tmp_path / "out" / "densenet121_is_Hand.ts"
    written = classifier.stat().st_mtime_ns
    explained_classifiers.main([*words.split(), "--options", json.dumps(few)])
    assert classifier.stat().st_mtime_ns == written
