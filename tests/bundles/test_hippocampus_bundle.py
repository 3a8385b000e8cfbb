# SPDX-License-Identifier: Apache-2.0
"""The bundle of hippocampi on a folder laid out like Task04_Hippocampus, of drawn volumes."""

import csv
import functools
from pathlib import Path

import nibabel as nib
import pytest
import torch
import workflows
from hippocampi import write_hippocampi
from monai.bundle import ConfigParser

from monai_diffae.checkpoints import load_stage_1
from monai_diffae.datasets.hippocampus.subject_lists import listed_subjects
from monai_diffae.demo.inputs import make_template_hippocampi
from monai_diffae.semantics import AttributeDirections, LatentTypicality

REPOSITORY = Path(__file__).parents[2]
BUNDLE = REPOSITORY / "bundles" / "hippocampus_mri_diffae"
CONFIGS = BUNDLE / "configs"
FEW_STEPS = {"num_inference_steps": 2, "num_slices": 2, "progress": False}


run = functools.partial(workflows.run, BUNDLE, **workflows.TINY)


@pytest.fixture(scope="module")
def hippocampi(tmp_path_factory) -> Path:
    return write_hippocampi(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(hippocampi, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    workflow = workflows.train_briefly(BUNDLE, hippocampi, folder, **workflows.TINY)
    for side, split, count in (("train", "train", 3), ("validate", "val", 1)):
        items = workflow.parser.get_parsed_content(f"{side}::volumes").data
        assert {int(item["subject"]) for item in items} == set(sorted(listed_subjects(split))[:count])
    return folder


def test_slices_are_padded_by_their_edges(hippocampi):
    parser = ConfigParser()
    parser.read_config(CONFIGS / "inference.yaml")
    parser["bundle_root"], parser["dataset_dir"] = str(BUNDLE), str(hippocampi)
    image = parser.get_parsed_content("dataset")[0]["image"]
    assert image.shape == (1, 64, 64)
    assert torch.equal(image[0, 0], image[0, 1])  # rows beside the crop repeat its first one
    assert image[0, 0].std() > 0.01


def test_what_zooms_leave_free_is_padded_by_the_edges_too(hippocampi, tmp_path):
    options = {"dataset_dir": str(hippocampi), "output_dir": str(tmp_path), "num_workers": 0, "zoom_range": [0.5, 0.5]}
    workflow = workflows.initialized(BUNDLE, "train", workflow_type="train", **options, **workflows.TINY)
    image = workflow.parser.get_parsed_content("train::dataset")[(0, 0)]["image"]
    assert torch.equal(image[0, 0], image[0, 15])  # rows beside the zoomed slice repeat its first one
    assert image[0, 0].std() > 0.01


def test_the_shipped_compression_model_brings_volumes_back(tmp_path):
    make_template_hippocampi(tmp_path)
    parser = ConfigParser()
    parser.read_config([CONFIGS / f"{name}.yaml" for name in ("inference", "volumes", "latent_space")])
    parser.update({"bundle_root": str(BUNDLE), "dataset_dir": str(tmp_path), "device": "cpu"})
    network = load_stage_1(parser.get_parsed_content("network_def"), BUNDLE / "models" / "volumes" / "stage_1.pt")
    dataset = parser.get_parsed_content("dataset")
    volumes = torch.stack([item["image"].as_tensor() for item in dataset])
    assert volumes.shape == (2, 1, 48, 48, 64)
    with torch.no_grad():
        error = (network.to_image(network.to_latent(volumes)) - volumes).square().mean()
    assert error < 0.3 * volumes.var()  # of real volumes less than 0.05: the template is brighter than any


def test_training_of_volumes_can_go_on_from_the_shipped_weights():
    folder = BUNDLE / "models" / "volumes"
    model, stage_1 = (torch.load(folder / name, weights_only=True) for name in ("model.pt", "stage_1.pt"))
    for name, value in stage_1.items():
        assert torch.equal(model[f"stage_1.model.{name}"], value), name


def test_the_shipped_model_of_volumes_edits_by_default(tmp_path):
    make_template_hippocampi(tmp_path / "data")
    names = ("inference", "volumes", "latent_space", "manipulate")
    options = {"dataset_dir": str(tmp_path / "data"), "output_dir": str(tmp_path / "out"), "progress": False}
    options |= {"attribute": "hippocampus_area", "along": "pattern", "target": "95%"}
    workflows.run(BUNDLE, *names, **options, num_inference_steps=3, inversion="explicit", device="cpu")
    with open(tmp_path / "out" / "edits.csv") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 2
    assert all(float(row["score_after"]) < float(row["score_before"]) for row in rows)
    for row in rows:
        source = nib.load(tmp_path / "data" / row["file"])
        edit = nib.load(tmp_path / "out" / row["file"].replace(".nii.gz", "_edit.nii.gz"))
        assert edit.shape == source.shape
        assert abs(edit.get_fdata() - source.get_fdata()).mean() > 0


def test_results_lie_in_the_space_of_test_volumes(hippocampi, trained, tmp_path):
    options = {"dataset_dir": str(hippocampi), "ckpt_path": str(trained / "models" / "model.pt"), **FEW_STEPS}
    run("inference", **options, output_dir=str(tmp_path), max_evaluations=2)
    results = sorted(tmp_path.rglob("*_reconstruction.nii.gz"))
    assert len(results) == 2
    for result in results:
        source = next(hippocampi.rglob(f"imagesTr/{result.name.replace('_reconstruction', '')}"))
        assert (int(source.name[12:15]) + 1) // 2 in listed_subjects("test")
        assert nib.load(result).shape == nib.load(source).shape


def test_volume_is_fitted_on_training_subjects_and_moved(hippocampi, trained, tmp_path):
    options = {"dataset_dir": str(hippocampi), "ckpt_path": str(trained / "models" / "model.pt"), **FEW_STEPS}
    options["num_slices"] = 8
    run("inference", "fit_attributes", **options, output_dir=str(tmp_path))
    directions = AttributeDirections.load(tmp_path / "attributes.pt")
    assert list(directions.names) == ["volume_ml", "anterior_share", "hippocampus_area"]
    count = {name: directions.summaries[name].row()["labels"] for name in directions.names}
    assert count["hippocampus_area"] > count["volume_ml"]  # 0 of slices that do not show it
    assert {summary.confounders for summary in directions.summaries.values()} == {("slice_place",)}
    with open(tmp_path / "labels.csv") as f:
        rows = list(csv.DictReader(f))
    assert {int(row["subject"]) for row in rows} <= listed_subjects("train")
    names = ["inference", "manipulate", "counterfactual"]
    options |= {"num_slices": 2, "num_steps": 2, "attributes_path": str(tmp_path / "attributes.pt"), "target": 1.5}
    run(*names, **options, output_dir=str(tmp_path / "edit"), attribute="volume_ml", max_evaluations=2)
    with open(tmp_path / "edit" / "edits.csv") as f:
        edits = list(csv.DictReader(f))
    assert {"score_reencoded", "change_inside", "change_outside"} <= set(edits[0])


def test_a_column_of_the_table_is_a_confounder_too(hippocampi, trained, tmp_path):
    options = {"dataset_dir": str(hippocampi), "ckpt_path": str(trained / "models" / "model.pt"), **FEW_STEPS}
    options |= {"num_slices": 8, "attributes": "volume_ml", "mask_areas": {}, "output_dir": str(tmp_path)}
    run("inference", "fit_attributes", **options, confounders="crop_y")
    assert AttributeDirections.load(tmp_path / "attributes.pt").summaries["volume_ml"].confounders == ("crop_y",)
    run("inference", "fit_attributes", **options, confounders=[])
    assert AttributeDirections.load(tmp_path / "attributes.pt").summaries["volume_ml"].confounders == ()


def test_typicality_compares_with_the_subjects_that_validate(hippocampi, trained, tmp_path):
    options = {"dataset_dir": str(hippocampi), "ckpt_path": str(trained / "models" / "model.pt"), **FEW_STEPS}
    run("inference", "fit_typicality", **options, output_dir=str(tmp_path))
    with open(tmp_path / "latents.csv") as f:
        slices = [(int(Path(row["file"]).name[12:15]) + 1) // 2 for row in csv.DictReader(f)]
    withheld = [subject for subject in slices if subject in listed_subjects("val")]
    assert 0 < len(withheld) == len(LatentTypicality.load(tmp_path / "typicality.pt").withheld) < len(slices)


def evaluation(**options) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([CONFIGS / "inference.yaml", CONFIGS / "evaluate.yaml"])
    parser.update({"bundle_root": str(BUNDLE), **options})
    return parser


def test_evaluation_takes_the_listed_test_subjects_and_probes_learn_from_the_training_ones(hippocampi, tmp_path):
    parser = evaluation(dataset_dir=str(hippocampi), output_dir=str(tmp_path), num_slices=4)
    for key, split, count in (("data", "test", 1), ("train_data", "train", 3)):
        data = parser.get_parsed_content(key)
        assert {int(item["subject"]) for item in data} == set(sorted(listed_subjects(split))[:count])
        assert {item["volume_ml"] > 0 for item in data} == {True}
    labels = [parser.get_parsed_content("dataset")[k]["volume_ml"] for k in range(4)]
    assert any(label > 0 for label in labels)  # of slices that show the hippocampus


def test_evaluation_takes_all_of_a_folder_of_other_volumes(hippocampi, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for image in (hippocampi / "Task04_Hippocampus" / "imagesTr").iterdir():
        (own / image.name.replace("hippocampus", "mine")).symlink_to(image)
    parser = evaluation(dataset_dir=str(own), output_dir=str(tmp_path / "out"))
    assert len(parser.get_parsed_content("data")) == len(list(own.iterdir()))
    assert parser.get_parsed_content("train_data") == []
