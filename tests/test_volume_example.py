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
EXAMPLE = """
import torch
from monai.bundle import ConfigParser, load
from monai.transforms import SaveImage

config = ConfigParser()
config.read_config("bundles/brain_slices_diffae/configs/inference.yaml")
config["bundle_root"] = "bundles/brain_slices_diffae"
config["displayable_configs"] = {"attribute": "lesion_left", "strength": 0.8}  # 0 reconstructs
network = load("brain_slices_diffae", bundle_dir="bundles", workflow_type="inference", device="cpu").eval()
volume = config.get_parsed_content("preprocessing")({"image": "T1.nii.gz"})["image"]  # (1, 64, 64, Z) in [-1, 1]
with torch.no_grad():
    result = config.get_parsed_content("inferer")(volume[None], network)[0]
SaveImage(output_dir="OUT", output_postfix="edit", separate_folder=False)(result)  # OUT/T1_edit.nii.gz
"""


def example() -> str:
    """The README's, where it has it."""
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), flags=re.DOTALL)
    return next((block for block in blocks if "displayable_configs" in block), EXAMPLE)


@pytest.mark.parametrize("strength", [0.0, 0.8])
def test_a_volume_is_reconstructed_and_edited_in_about_ten_lines(tmp_path, monkeypatch, strength):
    code = example()
    assert len([line for line in code.splitlines() if line and not line.startswith(("from ", "import "))]) <= 11
    distance = np.linalg.norm(np.indices((24, 24, 12)) - np.array([11.5, 11.5, 5.5])[:, None, None, None], axis=0)
    values = ((distance < 10) * 300.0 + (distance < 4) * 300.0).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([-7.0, 7, 14, 1])), tmp_path / "T1.nii.gz")
    monkeypatch.chdir(REPOSITORY)
    for old, new in {
        '"T1.nii.gz"': repr(str(tmp_path / "T1.nii.gz")),
        '"OUT"': repr(str(tmp_path)),
        '"lesion_left"': repr(AttributeDirections.load(WEIGHTS / "attributes.pt").names[0]),
        "0.8": str(strength),
        "config = ConfigParser()\n": "config = ConfigParser()\nfew = 2\n",
        "network = load": "config.config |= dict(pixdim=14.0, progress=False)\n"
        "config.config |= dict(num_inference_steps=few, num_inversion_steps=few, inversion='explicit')\nnetwork = load",
    }.items():
        assert old in code
        code = code.replace(old, new)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    volume, result = names["volume"], names["result"]
    assert result.shape == volume.shape
    file = nib.load(tmp_path / "T1_edit.nii.gz")
    assert file.shape == (64, 64, volume.shape[-1])
    np.testing.assert_allclose(file.affine, volume.affine, atol=1e-4)
    reconstruction = names["config"].get_parsed_content("reconstruction")(volume[None, ..., 3], names["network"])[0]
    changed = np.abs((reconstruction - result[..., 3]).as_tensor().numpy()).max()
    assert changed > 1e-3 if strength else changed < 1e-3
