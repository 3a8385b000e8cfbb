# SPDX-License-Identifier: Apache-2.0
"""The ten lines of Python that edit a volume."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_diffae.semantics import AttributeDirections

REPOSITORY = Path(__file__).parents[1]
WEIGHTS = REPOSITORY / "bundles" / "brain_slices_diffae" / "models"
AFFINE = np.array([[0, 0, 14.0, -80], [-7.0, 0, 0, 90], [0, -7.0, 0, 75], [0, 0, 0, 1]])  # turned and flipped axes


def example() -> str:
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "python.md").read_text(), flags=re.DOTALL)
    (block,) = [block for block in blocks if "put_into_source" in block]
    return block


@pytest.mark.parametrize("strength", [0.0, 0.8])
def test_a_volume_is_reconstructed_and_edited_in_about_ten_lines(tmp_path, monkeypatch, strength):
    code = example()
    assert len([line for line in code.splitlines() if line and not line.startswith(("from ", "import "))]) <= 12
    distance = np.linalg.norm(np.indices((24, 24, 12)) - np.array([11.5, 11.5, 5.5])[:, None, None, None], axis=0)
    values = ((distance < 8) * 300 + (distance < 4) * 300 - 5 * (distance > 9)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "T1.nii.gz")
    monkeypatch.chdir(REPOSITORY)
    for old, new in {
        '"T1.nii.gz"': repr(str(tmp_path / "T1.nii.gz")),
        '"T1_edit.nii.gz"': repr(str(tmp_path / "T1_edit.nii.gz")),
        '"lesion_left"': repr(AttributeDirections.load(WEIGHTS / "attributes.pt").names[0]),
        "0.8": str(strength),
        "config = ConfigParser()\n": "config = ConfigParser()\nfew = 2\n",
        "network = load": "config.config |= dict(pixdim=14.0, progress=False)\n"
        "config.config |= dict(num_inference_steps=few, num_inversion_steps=few, inversion='explicit')\nnetwork = load",
    }.items():
        assert old in code
        code = code.replace(old, new)
    names: dict = {}
    exec(compile(code, "python.md", "exec"), names)
    volume, result = names["volume"], names["result"]
    assert result.shape == volume.shape
    reconstruction = names["config"].get_parsed_content("reconstruction")(volume[None, ..., 3], names["network"])[0]
    changed = np.abs((reconstruction - result[..., 3]).as_tensor().numpy()).max()
    assert changed > 1e-3 if strength else changed < 1e-3

    file = nib.load(tmp_path / "T1_edit.nii.gz")
    assert file.shape == values.shape
    assert file.get_data_dtype() == np.int16
    np.testing.assert_array_equal(file.affine, AFFINE)
    found = np.asarray(file.dataobj)
    foreground = np.argwhere(values > 0)
    outside = np.ones(values.shape, dtype=bool)
    low, high = foreground.min(axis=0) - 2, foreground.max(axis=0) + 3  # a coarse voxel holds two
    outside[tuple(slice(max(a, 0), b) for a, b in zip(low, high))] = False
    assert outside.any()
    assert found[outside].tobytes() == values[outside].tobytes()
    assert (found != values).any()
