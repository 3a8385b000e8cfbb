# SPDX-License-Identifier: Apache-2.0
"""What the works that are interrupted read: pictures, volumes and weights, made in a process of their own."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from PIL import Image
from tasks import BUNDLES, LATENT, SMALL, SMALL_VOLUMES


def write_materials(home: Path) -> None:
    """Fork, so that this process has computed nothing."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            _write(home)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError("The materials could not be made.")


def _write(home: Path) -> None:
    draw = np.random.default_rng(0)
    for folder in ("digits", "volumes", "weights", "volume_weights"):
        (home / folder).mkdir(parents=True)
    for k in range(8):
        Image.fromarray(draw.integers(0, 255, (20, 20), dtype=np.uint8)).save(home / "digits" / f"{k}.png")
    for k in range(3):
        values = draw.integers(1, 255, (20, 20, 20), dtype=np.int16)
        nib.save(nib.Nifti1Image(values, np.diag([-6.0, 6.0, 6.0, 1.0])), home / "volumes" / f"{k}.nii.gz")
    pictures = _config("natural_images_diffae", SMALL | LATENT)
    _save(pictures.get_parsed_content("network_def"), home / "weights" / "model.pt")
    _save(pictures.get_parsed_content("latent_network_def"), home / "weights" / "latent.pt")
    torch.save({"mean": torch.zeros(8), "std": torch.ones(8)}, home / "weights" / "statistics.pt")
    _save(
        _config("brain_slices_diffae", SMALL_VOLUMES).get_parsed_content("network_def"),
        home / "volume_weights" / "model.pt",
    )


def _config(bundle: str, options: dict) -> ConfigParser:
    parser = ConfigParser(ConfigParser.load_config_file(str(BUNDLES / bundle / "configs" / "inference.yaml")))
    for name, value in options.items():
        parser.set(value, name)
    return parser


def _save(network: torch.nn.Module, path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    torch.save(network.state_dict(), path)
