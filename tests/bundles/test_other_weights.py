# SPDX-License-Identifier: Apache-2.0
"""Weights, given to a bundle, of a network that its configuration does not build."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from latent_workflows import Bundle
from PIL import Image

from monai_diffae.support.root_cause import root_cause


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for k in range(2):
        Image.fromarray(random.integers(0, 255, (32, 32), dtype=np.uint8)).save(folder / f"{k}.png")
        volume = random.integers(1, 999, (20, 20, 20)).astype(np.int16)
        nib.save(nib.Nifti1Image(volume, np.diag([6.0, 6.0, 6.0, 1.0])), folder / f"sub-{k}.nii.gz")
    return folder


@pytest.mark.parametrize(
    ("name", "configs", "options", "message"),
    [
        ("natural_images", ["inference"], {"in_channels": 3}, "in_channels 1, .* set in_channels to 1"),
        ("natural_images", ["inference", "encode"], {"z_dim": 16}, "z_dim 64, .* set z_dim to 64"),
        ("brain_slices", ["inference", "volumes"], {"image_size": 16}, "a 2D network, .* set spatial_dims to 2"),
        ("natural_images", ["train"], {"in_channels": 3}, "in_channels 1, .* set in_channels to 1"),
        ("brain_slices", ["train", "volumes"], {"image_size": 16}, "a 2D network, .* set spatial_dims to 2"),
    ],
)
def test_what_differs_and_what_to_set_is_the_cause_of_the_failed_run(data, tmp_path, name, configs, options, message):
    bundle = Bundle(f"{name}_diffae", tmp_path, dataset_dir=str(data), output_dir=str(tmp_path / "out"))
    if configs[0] == "train":
        options = options | {"init_from": bundle.options["ckpt_path"], "val_fraction": 0.5, "workflow_type": "train"}
    with pytest.raises(Exception, match=r"Fail|of another") as raised:
        bundle.run(*configs, **options)
    error = root_cause(raised.value)
    assert isinstance(error, ValueError)
    with pytest.raises(ValueError, match=f"model.pt' are of another network: they are of .*{message}"):
        raise error
