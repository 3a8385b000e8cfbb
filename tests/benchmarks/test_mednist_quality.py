# SPDX-License-Identifier: Apache-2.0
"""The measures of MedNIST's edits and samples, on drawn pictures and tiny networks."""

import csv
import json

import mednist_quality
import numpy as np
import pytest
import torch
from conftest import randomize
from monai.bundle import ConfigParser
from pictures_like_mednist import write_pictures_like_mednist
from tiny import TINY

from monai_diffae.datasets.mednist import CLASSES
from monai_diffae.datasets.mednist.measures import MEASURES
from monai_diffae.semantics import AttributeDirections

SMALL = {"latent_network_def::hidden_dim": 8, "latent_network_def::num_layers": 2, "num_latent_inference_steps": 2}
QUICK = TINY | SMALL | {"num_inference_steps": 1, "inversion": "explicit", "max_tries": 100_000}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    config = ConfigParser()
    config.read_config(str(mednist_quality.BUNDLE / "configs" / "inference.yaml"))
    config.update(QUICK)
    torch.manual_seed(0)
    torch.save(randomize(config.get_parsed_content("network_def")).state_dict(), folder / "model.pt")
    torch.save(config.get_parsed_content("latent_network_def").state_dict(), folder / "latent.pt")
    z_sem = torch.randn(60, 8)
    labels = {f"is_{name}": torch.arange(60) % 6 == k for k, name in enumerate(CLASSES)}
    labels = {name: values.double() for name, values in labels.items()}
    labels |= {name: z_sem[:, k].double() / 10 + 0.3 for k, name in enumerate(MEASURES)}
    directions = AttributeDirections.fit(z_sem, labels)
    directions.save(folder / "attributes.pt")
    torch.save(directions.statistics.state_dict(), folder / "statistics.pt")
    return folder


@pytest.mark.filterwarnings("ignore:.*extrapolates:UserWarning")
def test_every_section_is_measured_and_can_be_measured_again(models, tmp_path):
    data = write_pictures_like_mednist(tmp_path / "data", num_train=4)
    table = tmp_path / "edits.csv"
    words = f"--dataset_dir {data} --models {models} --output {table} --work_dir {tmp_path}/work --judge_images 32"
    words += " --num_edits 1 --num_shapes 2 --num_class_samples 2 --label_draws 1 --num_samples 8 --max_aims 1"
    mednist_quality.main([*words.split(), "--options", json.dumps(QUICK)])
    with open(table, newline="") as f:
        rows = list(csv.DictReader(f))
    assert list(dict.fromkeys(row["section"] for row in rows)) == list(mednist_quality.Bench.SECTIONS)
    found = {(row["section"], row["of"]): row for row in rows}
    assert found["judge", "the judge on test pictures"]["count"] == "12"
    assert found["class_edits", "100% to any"]["count"] == "30"
    slopes = {row["of"] for row in rows if row["measure"].startswith("slope")}
    known = {f"{name}, the picture changed" for name in MEASURES}
    assert slopes == {*MEASURES, *known, "hand_size, 1 aims", "head_size, 1 aims"}
    shares = [float(row["value"]) for row in rows if row["of"].startswith("samples of any class")]
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    mednist_quality.main([*words.split(), "--only", "judge", "--options", json.dumps(QUICK)])
    with open(table, newline="") as f:
        assert list(csv.DictReader(f)) == rows  # by the same judge


def test_shapes_that_answer_as_asked_have_a_slope_of_one():
    y, x = np.indices((64, 64)) - 31.5

    def discs(sizes: np.ndarray) -> torch.Tensor:
        disc = [np.where(y**2 + x**2 < size * 64**2 / np.pi, 1.0, -1.0) for size in sizes]
        return torch.from_numpy(np.stack(disc)[:, None]).float()

    sizes, asked = np.array([0.2, 0.25, 0.3]), (0.8, 1.2)
    for followed, slope in ((1.0, 1.0), (0.5, 0.5)):
        pictures = [discs(sizes), *(discs(sizes * (1 + followed * (share - 1))) for share in asked)]
        rows = mednist_quality.Bench.answers("hand_size", "share", asked, torch.arange(3), pictures, "discs")
        found = {row["measure"]: float(row["value"]) for row in rows}
        assert found["slope of measured against asked change"] == pytest.approx(slope, abs=0.05)
        assert found["mean error"] == pytest.approx(0.2 * (1 - followed), abs=0.02)
        assert found["not measurable after the edit"] == 0


@pytest.mark.parametrize("name", MEASURES)
def test_a_picture_is_changed_as_asked(name):
    y, x = np.indices((256, 256)) - np.array([136, 116])[:, None, None]
    turned = np.radians(10)
    along, across = y * np.cos(turned) - x * np.sin(turned), y * np.sin(turned) + x * np.cos(turned)
    ellipse = torch.from_numpy(np.tanh(6 * (1 - np.hypot(along / 80, across / 48))))[None]  # soft, as pictures are
    (image_class, measure), (kind, asked) = MEASURES[name], mednist_quality.ASKED[name]
    own = measure(mednist_quality.foreground(ellipse[0].numpy()))
    for value in asked:
        changed = mednist_quality.changed_shape(ellipse, name, value)
        found = mednist_quality.measure_shapes(changed[0].numpy(), image_class)[name]
        change, unit = (found / own, 1) if kind == "share" else (found - own, max(np.abs(asked)))
        assert change == pytest.approx(value, abs=0.08 * unit)
