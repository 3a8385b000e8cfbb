# SPDX-License-Identifier: Apache-2.0
"""The factors of the generated brains as attributes: fitted from the table, and edited; drawn weights."""

from __future__ import annotations

import re
import shutil
import traceback
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import workflows
from monai.bundle import ConfigParser, ConfigWorkflow
from workflows import read_table

from monai_diffae.datasets import generate_brain_slices
from monai_diffae.semantics import AttributeDirections

BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_slices_diffae"
CONFIGS = BUNDLE / "configs"
SUBJECTS = 5
FACTORS = ["ventricle_enlargement_mm", "head_scale", "contrast"]


def run(overlay: str, **overrides) -> ConfigWorkflow:
    return workflows.run(BUNDLE, "inference", overlay, **overrides)


@pytest.fixture(scope="module")
def brains(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("brains")
    generate_brain_slices(folder, num_subjects=SUBJECTS, seed=7, spacing=4.0, lesions="balls")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return str(workflows.draw_weights(BUNDLE, tmp_path_factory.mktemp("weights") / "model.pt", scale=0.05))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, brains, weights) -> Path:
    return workflows.fit(BUNDLE, brains, tmp_path_factory.mktemp("fitted"), weights, ["lesion", *FACTORS], num_slices=3)


def test_factors_of_the_generator_are_fitted_beside_the_lesion(fitted):
    rows = read_table(fitted / "attributes.csv")
    assert [(row["attribute"], row["kind"]) for row in rows] == [
        ("lesion", "binary"),
        *((name, "continuous") for name in FACTORS),
    ]
    assert {row["labels"] for row in rows if row["attribute"] != FACTORS[0]} == {str(3 * SUBJECTS)}
    assert all(row["r2"] and row["mae"] for row in rows[1:])  # of as many volumes as folds
    directions = AttributeDirections.load(fitted / "attributes.pt")
    assert 0.93 < directions.summary("head_scale").score_mean < 1.07  # in its unit


def areas_of_ventricles(brains: Path, num_slices: int) -> list[int]:
    """In pixels of the network, on each slice that is encoded."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.yaml") for name in ("inference", "fit_attributes")])
    parser["bundle_root"], parser["dataset_dir"], parser["num_slices"] = str(BUNDLE), str(brains), num_slices
    slices = parser.get_parsed_content("images")
    return [int((slices[i]["ventricle_mask"] > 0.5).sum()) for i in range(len(slices))]


def test_the_size_of_the_ventricles_counts_only_on_slices_that_show_them(brains, fitted):
    row = next(row for row in read_table(fitted / "attributes.csv") if row["attribute"] == FACTORS[0])
    shown = [area >= 4 for area in areas_of_ventricles(brains, 3)]
    assert int(row["labels"]) == sum(shown)
    assert SUBJECTS <= sum(shown) < 3 * SUBJECTS


def test_without_that_option_a_label_counts_on_every_slice(brains, weights, tmp_path):
    run(
        "fit_attributes",
        dataset_dir=str(brains),
        output_dir=str(tmp_path),
        ckpt_path=weights,
        attributes=FACTORS[:1],
        num_slices=3,
        shown_by={},
    )
    assert [row["labels"] for row in read_table(tmp_path / "attributes.csv")] == [str(3 * SUBJECTS)]


def test_another_mask_of_a_data_list_says_where_a_label_counts(brains, weights, tmp_path):
    listed = [f"{brains}/images/sub-000{i}.nii.gz,{brains}/ventricles/sub-000{i}.nii.gz" for i in range(SUBJECTS)]
    (tmp_path / "list.csv").write_text("image,organ_mask\n" + "\n".join(listed) + "\n")
    run(
        "fit_attributes",
        data_list=str(tmp_path / "list.csv"),
        labels_file=str(brains / "labels.csv"),
        output_dir=str(tmp_path),
        ckpt_path=weights,
        attributes=["contrast", "head_scale"],
        masks={"organ_mask": "nowhere"},
        shown_by={"contrast": ["organ_mask", 4]},
    )
    labels = {row["attribute"]: int(row["labels"]) for row in read_table(tmp_path / "attributes.csv")}
    assert 0 < labels["contrast"] < labels["head_scale"]


def test_a_mask_of_another_name_says_which_slices_have_the_label_of_a_volume(brains, weights, tmp_path):
    run(
        "fit_attributes",
        dataset_dir=str(brains),
        output_dir=str(tmp_path),
        ckpt_path=weights,
        attributes=["contrast"],
        num_slices=3,
        masks={"organ": "ventricles"},
        mask_labels=["contrast"],
        shown_by={},
    )
    shown = [area >= 4 for area in areas_of_ventricles(brains, 3)]
    row = read_table(tmp_path / "attributes.csv")[0]
    assert (row["kind"], int(row["labels"]), int(row["positive"])) == ("binary", len(shown), sum(shown))


def test_data_of_an_earlier_version_say_that_they_lack_the_masks(brains, weights, tmp_path):
    for kind in ("images", "lesions"):
        (tmp_path / kind).symlink_to(brains / kind)
    shutil.copy(brains / "labels.csv", tmp_path)
    with pytest.raises(RuntimeError) as raised:  # of the configuration, with its cause
        run(
            "fit_attributes",
            dataset_dir=str(tmp_path),
            output_dir=str(tmp_path / "out"),
            ckpt_path=weights,
            attributes=FACTORS,
            num_slices=1,
        )
    message = "".join(traceback.format_exception(raised.value))
    assert re.search(r"no mask 'ventricle_mask' of .*sub-0000.*generated are to be made again", message)


def test_a_factor_is_brought_to_values_and_the_lesion_kept(brains, weights, fitted, tmp_path, device):
    summary = AttributeDirections.load(fitted / "attributes.pt").summary("contrast")
    value = summary.score_mean
    workflow = run(
        "manipulate",
        dataset_dir=str(brains),
        output_dir=str(tmp_path),
        ckpt_path=weights,
        attributes_path=str(fitted / "attributes.pt"),
        attribute="contrast",
        target=[value, value + 0.01],
        keep=["lesion"],
        device=device,
        num_slices=2,
        num_inference_steps=2,
        num_inversion_steps=2,
        progress=False,
    )
    assert list(workflow.inferer.edit.keep) == ["lesion"]
    rows = read_table(tmp_path / "edits.csv")
    assert len(rows) == 2 * 2 * SUBJECTS
    assert list(rows[0]) == [
        "file",
        "slice",
        "attribute",
        "along",
        "target",
        "score_before",
        "score_after",
        "extrapolation",
        "score_reencoded",
        "distance",
        "kept_lesion_before",
        "kept_lesion_after",
        "kept_lesion_reencoded",
    ]
    assert 0 < summary.score_per_unit < 1
    expected = [value, value + 0.01 * summary.score_per_unit]  # codes of that value have this mean score
    np.testing.assert_allclose([float(row["score_after"]) for row in rows], expected * 10, atol=1e-4)
    edit = np.asarray(nib.load(tmp_path / "images" / "sub-0000_edit.nii.gz").dataobj)
    assert edit.shape == (*nib.load(brains / "images" / "sub-0000.nii.gz").shape, 2)
    assert (tmp_path / "figures" / "manipulation.png").exists()
