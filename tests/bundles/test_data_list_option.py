# SPDX-License-Identifier: Apache-2.0
"""The option data_list of every workflow of both bundles, on images that do not lie in dataset_dir."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from latent_workflows import Bundle, read_table, root_cause, weights_of
from PIL import Image

from monai_diffae.semantics import AttributeDirections

COUNT = 6  # of which the list names all but the last
SMALL = {"z_dim": 8, "image_size": 16, "batch_size": 4, "num_inference_steps": 1, "num_inversion_steps": 1}
SMALL |= {"inversion": "explicit", "progress": False, "device": "cpu"}
TRAINING = {"max_iterations": 1, "epoch_length": 1, "val_interval": 1, "val_fraction": 0.4, "batch_size": 4}
TRAINING |= {"num_inference_steps": 1, "num_inversion_steps": 1, "z_dim": 8, "image_size": 16, "num_workers": 0}


class Case:
    """Images ``scans/<k>/a.*``, a list of all but the last, and a folder ``elsewhere`` for the default data set."""

    def __init__(self, name: str, folder: Path) -> None:
        self.brain = name == "brain_slices_diffae"
        self.folder = folder
        self.extension = ".nii.gz" if self.brain else ".png"
        random = np.random.default_rng(0)
        for k in range(COUNT):
            path = folder / "scans" / str(k) / f"a{self.extension}"
            path.parent.mkdir(parents=True)
            if self.brain:
                values = 100 + 50 * random.random((16, 16, 6))
                nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([3.0, 3, 3, 1])), path)
            else:
                Image.fromarray(random.integers(0, 256, (20, 20), dtype=np.uint8)).save(path)
        self.names = [f"{k}/a{self.extension}" for k in range(COUNT - 1)]
        with open(folder / "scans" / "list.csv", "w", newline="") as f:
            table = csv.writer(f)
            table.writerow(["image", "level", "note"])
            table.writerows([name, k % 2, "once" if k == 0 else ""] for k, name in enumerate(self.names))
        options = SMALL | {"data_list": str(folder / "scans" / "list.csv")}
        options["default_dataset_dir"] = options["dataset_dir"] = str(folder / "elsewhere")
        if self.brain:
            options |= {"num_slices": 2, "slice_range": [0.0, 1.0], "network_def::encoder::patch_size": 1}
            options |= {"network_def::decoder::patch_size": 1, "resume": False}
        self.bundle = Bundle(name, folder, **options).randomize()
        self.attributes = folder / "attributes.pt"
        z_sem, labels = torch.randn(8, 8), {"level": torch.tensor([0.0, 1.0] * 4)}
        AttributeDirections.fit(z_sem, labels, torch.arange(8)).save(self.attributes)

    def run(self, *names: str, **options: Any) -> None:
        self.bundle.run(*names, **options)
        assert not (self.folder / "elsewhere").exists()  # no data set is made

    def files(self, table: Path) -> list[str]:
        return list(dict.fromkeys(row["file"] for row in read_table(table)))


@pytest.fixture(scope="module", params=["natural_images_diffae", "brain_slices_diffae"])
def case(request, tmp_path_factory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize(
    ("names", "result"),
    [
        ((), "reconstruction"),
        (("compare_x_T",), "reconstruction"),
        (("manipulate",), "edit"),
        (("manipulate", "counterfactual"), "edit"),
        (("variations",), "variations"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else value,
)
def test_results_of_listed_images_are_named_from_their_common_folder(case, tmp_path, names, result):
    options = {"attribute": "level", "attributes_path": str(case.attributes)} if "manipulate" in names else {}
    options |= {"target": "boundary"} if "counterfactual" in names else {}
    case.run("inference", *names, output_dir=str(tmp_path / "out"), **options)
    assert case.files(tmp_path / "out" / "latents.csv") == case.names
    folders = {path.parent.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob(f"a_{result}*")}
    assert folders == {str(k) for k in range(COUNT - 1)}
    assert {path.name for path in tmp_path.iterdir()} == {"out"}  # nothing beside it


@pytest.mark.parametrize("name", ["interpolate", "swap"])
def test_pairs_of_listed_images_are_named_as_in_the_tables(case, tmp_path, name):
    pairs = [[case.names[3], case.names[0]], [case.names[0], case.names[1]]]
    case.run("inference", name, output_dir=str(tmp_path), pairs=pairs)
    assert case.files(tmp_path / "latents.csv") == [case.names[k] for k in (3, 0, 1)]
    assert len(list(tmp_path.glob("3/a_to_0_a_*"))) > 0


def test_listed_images_are_encoded(case, tmp_path):
    case.run("inference", "encode", output_dir=str(tmp_path))
    assert case.files(tmp_path / "latents.csv") == case.names


def test_directions_are_fitted_to_the_columns_of_the_list(case, tmp_path):
    labels = case.bundle.options["data_list"]
    case.run("inference", "fit_attributes", output_dir=str(tmp_path), labels_file=labels, attributes=["level"])
    assert case.files(tmp_path / "latents.csv") == case.names
    (row,) = read_table(tmp_path / "attributes.csv")
    slices = case.bundle.options.get("num_slices", 1)
    assert (row["attribute"], row["labels"], row["positive"]) == ("level", str(5 * slices), str(2 * slices))


def test_the_latent_diffusion_is_trained_on_listed_images_and_samples_what_the_list_labels(case, tmp_path):
    case.bundle.train(tmp_path, val_fraction=0.4)
    latents = torch.load(tmp_path / "latents.pt", weights_only=True)["latents"]
    assert sorted(set(latents["source"].tolist())) == list(range(COUNT - 1))
    labels = case.bundle.options["data_list"]
    options = weights_of(tmp_path) | {"num_samples": 2, "num_inference_steps": 1, "output_dir": str(tmp_path)}
    names = ("inference", "sample", "conditional_sample")
    case.run(*names, labels_file=labels, attribute="level", **options)
    assert len(list((tmp_path / "samples").iterdir())) == 2
    assert not (case.folder / "elsewhere").exists()


def test_listed_images_are_trained_on(case, tmp_path):
    options = {key: value for key, value in case.bundle.options.items() if key not in SMALL and key != "ckpt_path"}
    if case.brain:
        options |= {"val_num_slices": 1, "resume": False}
    bundle = Bundle.__new__(Bundle)
    bundle.root, bundle.configs, bundle.options = case.bundle.root, case.bundle.configs, options | TRAINING
    trained = bundle.run("train", workflow_type="train", output_dir=str(tmp_path))
    sides = trained.parser.get_parsed_content("split")
    names = [[Path(item["image"]).parent.name for item in side] for side in sides]
    assert [len(side) for side in names] == [3, 2]
    assert sorted(names[0] + names[1]) == ["0", "1", "2", "3", "4"]
    latent = case.bundle.workflow("inference", "train_latent", workflow_type="train", val_fraction=0.4)
    data, places = (latent.parser.get_parsed_content(name) for name in ("data", "split"))
    assert [[Path(data[i]["image"]).parent.name for i in side] for side in places] == names
    assert (tmp_path / "models" / "model.pt").exists()
    assert not (case.folder / "elsewhere").exists()


@pytest.mark.parametrize("names", [("inference",), ("inference", "encode"), ("inference", "fit_attributes")])
def test_a_file_that_is_no_list_is_refused_by_its_name(case, tmp_path, names):
    options = {"output_dir": str(tmp_path), "labels_file": case.bundle.options["data_list"], "attributes": ["level"]}
    options = options if "fit_attributes" in names else {"output_dir": str(tmp_path)}
    with pytest.raises(Exception, match="Failed") as raised:
        case.run(*names, data_list=str(case.attributes), **options)
    assert "A data list is a .json or a .csv file, got" in root_cause(raised.value)
    assert "attributes.pt" in root_cause(raised.value)
