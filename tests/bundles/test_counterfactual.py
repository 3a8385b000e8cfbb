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
    directions = AttributeDirections(
        ["lesion", "size", "grade"], weight, torch.zeros(3), LatentStatistics(torch.zeros(8), torch.ones(8)), summaries
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
    brain.run(*NAMES, output_dir=str(tmp_path), num_steps=3, **options)
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
    inside = [row["change_inside"] for row in rows]
    assert all(float(value) > 0 for value in inside[:6])  # slices through the lesion
    assert inside[6:] == ["nan"] * 6
    with Image.open(tmp_path / "figures" / "counterfactual.png") as figure:
        assert figure.width > 1000  # two columns, three edits and three differences
    edits = nib.load(tmp_path / "images" / "0_edit.nii.gz")
    assert edits.shape[-1] == 3


def test_pictures_are_brought_to_a_target_step_by_step(attributes_path, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    (tmp_path / "data").mkdir()
    Image.fromarray(pixels).save(tmp_path / "data" / "a.png")
    options = {"attribute": "size", "target": 1.5, "attributes_path": attributes_path, "num_steps": 2}
    bundle = Bundle("natural_images_diffae", tmp_path, dataset_dir=str(tmp_path / "data"), **SMALL).randomize()
    bundle.run(*NAMES, output_dir=str(tmp_path / "out"), **options)
    rows = read_table(tmp_path / "out" / "edits.csv")
    assert [row["step"] for row in rows] == ["1/2", "2/2"]
    assert float(rows[-1]["score_after"]) == pytest.approx(1.5, abs=1e-3)
    assert float(rows[-1]["change_outside"]) > 0
    assert len(list((tmp_path / "out").glob("a_edit_*.png"))) == 2
    assert (tmp_path / "out" / "figures" / "counterfactual.png").exists()
