# SPDX-License-Identifier: Apache-2.0
"""``inference.yaml`` alone, used as MONAI Label's BundleInferTask uses it, played with MONAI's own classes.

https://github.com/Project-MONAI/MONAILabel, monailabel/tasks/infer/bundle.py and basic_infer.py.
"""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, SaveImaged

from monai_diffae.semantics import AttributeDirections

BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_slices_diffae"
FEW_STEPS = {
    "pixdim": 12.0,
    "num_inference_steps": 4,
    "num_inversion_steps": 4,
    "inversion": "explicit",
    "progress": False,
}


class LabelClient:
    """The calls of MONAI Label, in its order."""

    def __init__(self, config_name: str) -> None:
        self.config = ConfigParser()
        self.config.read_config(str(BUNDLE / "configs" / config_name))
        self.config.config.update({"bundle_root": str(BUNDLE)} | FEW_STEPS)
        self.network = self.config.get_parsed_content("network_def", instantiate=True)
        self.network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))
        self.network.eval()
        formats = json.loads((BUNDLE / "configs" / "metadata.json").read_text())["network_data_format"]
        self.key_image, self.key_pred = next(iter(formats["inputs"])), next(iter(formats["outputs"]))
        self.sliders = self.config.get_parsed_content("displayable_configs", instantiate=True)

    def _transforms(self, name: str) -> list:
        found = self.config.get_parsed_content(name, instantiate=True)
        found = list(found.transforms) if isinstance(found, Compose) else [found]
        return [transform for transform in found if not isinstance(transform, SaveImaged)]

    def infer(self, file: Path, **sliders) -> dict:
        self.config["displayable_configs"].update(self.sliders | sliders)
        self.config.parse()
        data = Compose(self._transforms("preprocessing"))({self.key_image: str(file)})
        with torch.no_grad():
            inferer = self.config.get_parsed_content("inferer", instantiate=True)
            data[self.key_pred] = inferer(data[self.key_image][None], self.network)[0]
        return Compose(self._transforms("postprocessing"))(data)


@pytest.fixture(scope="module")
def volume(tmp_path_factory) -> Path:
    """A ball of tissue with a bright middle, axes turned."""
    distance = np.linalg.norm(np.indices((30, 30, 12)) - np.array([14.5, 14.5, 5.5])[:, None, None, None], axis=0)
    values = (distance < 12) * 300.0 + (distance < 4) * 300.0
    file = tmp_path_factory.mktemp("volume") / "ball.nii.gz"
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([-6.0, 6, 6, 1])), file)
    return file


@pytest.fixture
def shipped_attribute() -> str:
    return AttributeDirections.load(BUNDLE / "models" / "attributes.pt").names[0]


@pytest.mark.parametrize("config_name", ["inference.yaml", "inference.json"])
def test_client_gets_a_volume_and_its_sliders_edit_it(volume, config_name, shipped_attribute):
    client = LabelClient(config_name)
    assert client.sliders["strength"] == 0.0
    assert set(client.sliders) == {"strength", "attribute"}
    plain = client.infer(volume)
    image, reconstruction = plain["image"], plain["pred"]
    assert isinstance(reconstruction, MetaTensor)
    assert reconstruction.shape == image.shape == (1, 64, 64, image.shape[-1])
    torch.testing.assert_close(reconstruction.affine, image.affine)
    expected = client.config.get_parsed_content("reconstruction")(image[None, ..., 2], client.network)[0]
    torch.testing.assert_close(reconstruction[..., 2].as_tensor(), expected.as_tensor(), rtol=1e-3, atol=1e-3)
    stronger, weaker = (
        client.infer(volume, strength=s, attribute=shipped_attribute)["pred"].as_tensor() for s in (0.3, -0.3)
    )
    assert torch.mean((stronger - reconstruction.as_tensor()) ** 2) > 1e-6
    assert torch.mean((stronger - weaker) ** 2) > torch.mean((stronger - reconstruction.as_tensor()) ** 2)


def test_client_is_told_of_an_attribute_that_there_is_not(volume):
    with pytest.raises(RuntimeError) as raised:
        LabelClient("inference.yaml").infer(volume, strength=0.3, attribute="tumour")
    assert "Unknown attribute 'tumour'" in str(raised.value.__cause__ or raised.value)
