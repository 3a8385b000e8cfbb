# SPDX-License-Identifier: Apache-2.0
"""windows.yaml: images larger than the network's, by the lines that its head gives."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import randomize
from latent_workflows import REPOSITORY, Bundle
from monai.bundle import ConfigParser

from monai_diffae.semantics import AttributeDirections, LatentStatistics

HEAD = (REPOSITORY / "bundles/brain_slices_diffae/configs/windows.yaml").read_text().split("\n\n")[0]
LINES = re.findall(r"--config_file \"\[(.*)\]\"(.*)", HEAD)
SHAPE = (30, 24, 26)
SMALL = {"z_dim": 8, "num_inference_steps": 2, "inversion": "explicit", "progress": False, "num_slices": 2}
SMALL |= {f"network_def::{part}::norm_num_groups": 4 for part in ("encoder", "decoder")}


def settings(options: str, volumes: bool) -> dict:
    """Those of a line, with smaller networks and images."""
    found = {name: float(value) for name, value in re.findall(r"--(\w+) (\S+)", options)}
    window = 16 if volumes else 32
    assert found.pop("image_size") == 2 * (32 if volumes else 64)
    channels = {part: [8] * (3 if volumes else n) for part, n in (("encoder", 5), ("decoder", 3))}
    found |= {f"network_def::{part}::channels": value for part, value in channels.items()}
    return SMALL | found | {"window_size": window, "image_size": 2 * window}


@pytest.mark.parametrize(("names", "options"), LINES)
def test_the_lines_at_its_head_process_larger_images(tmp_path: Path, names: str, options: str):
    names = re.findall(r"(\w+)\.yaml", names)
    volumes, edits = "volumes" in names, "manipulate" in names
    options = settings(options, volumes)
    window = options["window_size"]
    (tmp_path / "data").mkdir()
    values = np.random.default_rng(0).integers(1, 900, SHAPE).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([-192 / window, 192 / window, 192 / window, 1])), tmp_path / "data/a.nii")
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8))
    AttributeDirections(["lesion_left"], torch.ones(1, 8), torch.zeros(1), statistics).save(tmp_path / "attributes.pt")
    bundle = Bundle("brain_slices_diffae", tmp_path, dataset_dir=str(tmp_path / "data"))
    bundle.options |= options
    parser = ConfigParser()
    parser.read_config([str(bundle.configs / f"{name}.yaml") for name in names])
    parser.update(options)
    torch.save(randomize(parser.get_parsed_content("network_def")).state_dict(), tmp_path / "model.pt")
    out = {"output_dir": str(tmp_path / "out"), "attributes_path": str(tmp_path / "attributes.pt")}
    workflow = bundle.workflow(*names, **out)
    image, seen = workflow.parser.get_parsed_content("dataset")[0]["image"], set()
    assert image.shape[1:3] == (2 * window, 2 * window)
    encoder = workflow.parser.get_parsed_content("encoder_def")
    encoder.register_forward_pre_hook(lambda module, inputs: seen.add(tuple(inputs[0].shape[1:])))
    workflow.run()
    assert seen == {(1, *[window] * (3 if volumes else 2))}
    for kind in ("reconstruction", "edit", "difference") if edits else ("reconstruction",):
        found = nib.load(tmp_path / "out" / f"a_{kind}.nii.gz")
        assert found.shape == SHAPE
        changed = np.asarray(found.dataobj) != (0 if kind == "difference" else values)
        # Wider than a window, and with volumes deeper too.
        extent = [np.ptp(np.flatnonzero(changed.any(axis=tuple({0, 1, 2} - {axis})))) + 1 for axis in range(3)]
        assert min(extent[: 3 if volumes else 2]) > min(window, 20)
    assert len(list((tmp_path / "out" / "figures").glob("*.png"))) == 1
    assert not (tmp_path / "out" / "latents.csv").exists()
