# SPDX-License-Identifier: Apache-2.0
"""counterfactual.yaml of both bundles: tables and figures of the way to a target."""

import nibabel as nib
import numpy as np
import pytest
import torch
from latent_workflows import Bundle, read_table
from PIL import Image

from monai_diffae.semantics import AttributeDirections, AttributeSummary, LatentStatistics

NAMES = ("inference", "manipulate", "counterfactual")
SMALL = {
    "z_dim": 8,
    "image_size": 32,
    "num_inference_steps": 2,
    "num_inversion_steps": 2,
    "inversion": "explicit",
    "progress": False,
}


@pytest.fixture(scope="module")
def attributes_path(tmp_path_factory) -> str:
    """A binary and a continuous attribute, and an ordinal one."""
    weight = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    summaries = {"size": AttributeSummary("continuous"), "lesion": AttributeSummary("binary")}
    summaries["grade"] = AttributeSummary("ordinal", grades=(0.0, 1.0, 2.0), thresholds=(0.5, 1.5))
    mix = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8))
    directions = AttributeDirections(
        ["lesion", "size", "grade"], weight, torch.zeros(3), statistics, summaries, pattern=weight @ mix @ mix.T
    )
    path = tmp_path_factory.mktemp("attributes") / "attributes.pt"
    directions.save(path)
    return str(path)


@pytest.fixture(scope="module")
def brain(tmp_path_factory) -> Bundle:
    """Two volumes, of which one has a lesion mask."""
    folder = tmp_path_factory.mktemp("brain")
    distance = np.linalg.norm(np.indices((20, 20, 20)) - 9.5, axis=0)
    for name in ("images", "lesions"):
        (folder / name).mkdir()
    image, affine = (distance < 8) * 300.0 + (distance < 3) * 300.0, np.diag([9.0, 9, 9, 1])
    for file, values in (("images/0", image), ("lesions/0", distance < 3), ("images/1", image)):
        nib.save(nib.Nifti1Image(values.astype(np.float32), affine), folder / f"{file}.nii.gz")
    options = SMALL | {"dataset_dir": str(folder), "pixdim": 12.0, "num_slices": 2}
    return Bundle("brain_slices_diffae", folder, **options).randomize()


@pytest.mark.parametrize(
    ("attribute", "target", "keep"), [("lesion", "across", []), ("size", 2.0, ["lesion"]), ("grade", 1.6, [])]
)
def test_brain_slices_are_brought_to_a_target_step_by_step(brain, attributes_path, tmp_path, attribute, target, keep):
    options = {"attribute": attribute, "target": target, "keep": keep, "attributes_path": attributes_path}
    brain.run(*NAMES, output_dir=str(tmp_path), num_steps=3, max_aims=0, **options)
    rows = read_table(tmp_path / "edits.csv")
    assert [row["step"] for row in rows] == ["1/3", "2/3", "3/3"] * 4
    for start in range(0, 12, 3):
        steps = rows[start : start + 3]
        before, after = float(steps[0]["score_before"]), [float(step["score_after"]) for step in steps]
        wanted = -before if target == "across" else target
        assert after == pytest.approx([before + share * (wanted - before) for share in (1 / 3, 2 / 3, 1)], abs=1e-3)
        distance = [float(step["distance"]) for step in steps]
        assert distance == pytest.approx([distance[2] * share for share in (1 / 3, 2 / 3, 1)], rel=1e-3)
        assert all(float(step["change_outside"]) > 0 for step in steps)
        assert all(np.isfinite(float(step["score_reencoded"])) for step in steps)
        for name in keep:
            kept = [float(step[f"kept_{name}_after"]) for step in steps]
            assert kept == pytest.approx([float(steps[0][f"kept_{name}_before"])] * 3, abs=1e-3)
    reencoded = [f"kept_{name}_{when}" for name in keep for when in ("before", "after", "reencoded")]
    assert [column for column in rows[0] if column.startswith("kept_")] == reencoded
    inside = [row["change_inside"] for row in rows]
    assert all(float(value) > 0 for value in inside[:6])  # slices through the lesion
    assert inside[6:] == ["nan"] * 6
    with Image.open(tmp_path / "figures" / "counterfactual.png") as figure:
        assert figure.width > 1000  # two columns, three edits and three differences
    edits = nib.load(tmp_path / "images" / "0_edit.nii.gz")
    assert edits.shape[-1] == 3


def test_a_mask_of_another_name_tells_inside_from_outside(brain, attributes_path, tmp_path):
    edit = {"attribute": "size", "target": 2.0, "num_steps": 1, "max_aims": 0, "attributes_path": attributes_path}
    found = []
    for name in ("lesion_mask", "cyst"):
        brain.run(*NAMES, output_dir=str(tmp_path / name), masks={name: "lesions"}, **edit)
        rows = read_table(tmp_path / name / "edits.csv")
        found.append([(row["change_inside"], row["change_outside"]) for row in rows])
    assert found[0] == found[1]
    assert [inside != "nan" for inside, _ in found[1]] == [True, True, False, False]


def test_an_ordinal_attribute_of_a_table_is_fitted_and_brought_to_another_grade(brain, tmp_path):
    (tmp_path / "images").mkdir()
    distance = np.linalg.norm(np.indices((20, 20, 20)) - 9.5, axis=0)
    rows = ["file,grade"]
    for k in range(9):
        image = (distance < 8) * 300.0 + (distance < 2 + k % 3) * 200.0 + k
        nib.save(nib.Nifti1Image(image.astype(np.float32), np.diag([9.0, 9, 9, 1])), tmp_path / f"images/{k}.nii.gz")
        rows.append(f"images/{k}.nii.gz,{k % 3}")
    (tmp_path / "grades.csv").write_text("\n".join(rows) + "\n")
    options = {"dataset_dir": str(tmp_path), "attributes_path": str(tmp_path / "fit" / "attributes.pt")}
    table = {"labels_file": str(tmp_path / "grades.csv"), "attributes": ["grade"], "mask_labels": ["lesion"]}
    kinds = {"attribute_kinds": {"grade": "ordinal"}, "regularization": 10.0}
    brain.run("inference", "fit_attributes", output_dir=str(tmp_path / "fit"), **options, **table, **kinds)
    directions = AttributeDirections.load(tmp_path / "fit" / "attributes.pt")
    assert directions.summary("grade").grades == (0.0, 1.0, 2.0)
    edit = {"attribute": "grade", "target": "across", "num_steps": 2, "masks": {}, "max_aims": 0}
    brain.run(*NAMES, output_dir=str(tmp_path / "out"), **options, **edit)
    edits = read_table(tmp_path / "out" / "edits.csv")
    assert len(edits) == 9 * 2 * 2
    thresholds = np.array(directions.summary("grade").thresholds)
    for middle, end in zip(edits[::2], edits[1::2]):
        before, between, after = float(end["score_before"]), float(middle["score_after"]), float(end["score_after"])
        assert between == pytest.approx((before + after) / 2, abs=1e-3)
        assert np.searchsorted(thresholds, before) != np.searchsorted(thresholds, after)
        assert np.abs(thresholds - (before + after) / 2).min() < 1e-3  # mirrored at the nearest boundary
        assert (end["change_inside"], float(end["change_outside"]) > 0) == ("nan", True)


def test_the_way_to_a_target_is_the_pattern_or_the_weight(brain, attributes_path, tmp_path):
    directions, edit = AttributeDirections.load(attributes_path), {"attribute": "size", "target": 2.0, "num_steps": 1}
    lengths = []
    for along in (None, "pattern", "weight"):
        out, given = tmp_path / str(along), {} if along is None else {"along": along}
        options = edit | {"attributes_path": attributes_path, "max_aims": 0} | given
        brain.run(*NAMES, output_dir=str(out), **options)
        lengths.append([])
        for row in read_table(out / "edits.csv"):
            assert row["along"] == (along or "pattern")
            way = float(row["score_after"]) - float(row["score_before"])
            direction = directions.direction("size", along=along or "pattern")
            per_score = 1 / float(direction @ directions.weight[1])
            assert float(row["distance"]) == pytest.approx(abs(way) * per_score, rel=1e-2, abs=1e-3)
            assert float(row["score_after"]) == pytest.approx(2.0, abs=1e-3)
            lengths[-1].append(float(row["distance"]))
    assert lengths[0] == lengths[1]
    assert min(np.array(lengths[1]) / lengths[2]) > 1.05  # the weight is the shortest


def test_aimed_steps_are_shares_of_a_longer_way(brain, attributes_path, tmp_path):
    edit = {"attribute": "size", "target": 2.0, "num_steps": 2, "attributes_path": attributes_path, "along": "weight"}
    ends = []
    for aims in (0, 2):
        brain.run(*NAMES, output_dir=str(tmp_path / str(aims)), max_aims=aims, **edit)
        rows = read_table(tmp_path / str(aims) / "edits.csv")
        distance = np.array([float(row["distance"]) for row in rows]).reshape(-1, 2)
        np.testing.assert_allclose(distance[:, 0], distance[:, 1] / 2, rtol=1e-3)
        ends.append([(float(row["distance"]), abs(float(row["score_reencoded"]) - 2)) for row in rows[1::2]])
    for (_, miss), (_, aimed_miss) in zip(*ends, strict=True):
        assert aimed_miss <= miss + 1e-4
    changed = [abs(long / short - 1) > 0.05 for (short, _), (long, _) in zip(*ends)]
    assert any(changed)


@pytest.mark.parametrize(("attribute", "max_aims"), [("lesion", 6), ("size", 0), ("grade", 0)])
def test_only_the_moves_of_binary_attributes_are_aimed_by_default(brain, attributes_path, attribute, max_aims):
    workflow = brain.workflow(*NAMES, attribute=attribute, target=0.5, attributes_path=attributes_path)
    assert workflow.parser.get_parsed_content("inferer").edit.max_aims == max_aims


@pytest.mark.parametrize("along", ["weight", "pattern"])
def test_pictures_are_brought_to_a_target_step_by_step(attributes_path, tmp_path, along):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    (tmp_path / "data").mkdir()
    Image.fromarray(pixels).save(tmp_path / "data" / "a.png")
    options = {"attribute": "size", "target": 1.5, "attributes_path": attributes_path, "num_steps": 2}
    options["along"] = along
    bundle = Bundle("natural_images_diffae", tmp_path, dataset_dir=str(tmp_path / "data"), **SMALL).randomize()
    bundle.run(*NAMES, output_dir=str(tmp_path / "out"), **options)
    rows = read_table(tmp_path / "out" / "edits.csv")
    assert [row["step"] for row in rows] == ["1/2", "2/2"]
    directions = AttributeDirections.load(attributes_path)
    per_score = 1 / float(directions.direction("size", along=along) @ directions.weight[1])
    way = abs(1.5 - float(rows[-1]["score_before"]))
    assert float(rows[-1]["distance"]) == pytest.approx(way * per_score, rel=1e-2, abs=1e-3)
    assert float(rows[-1]["score_after"]) == pytest.approx(1.5, abs=1e-3)
    assert float(rows[-1]["change_outside"]) > 0
    assert len(list((tmp_path / "out").glob("a_edit_*.png"))) == 2
    assert (tmp_path / "out" / "figures" / "counterfactual.png").exists()
