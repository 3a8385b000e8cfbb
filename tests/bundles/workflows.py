# SPDX-License-Identifier: Apache-2.0
"""How tests run a bundle's workflows, on weights that they draw."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import randomize
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image
from skimage.data import lfw_subset
from tiny import TINY as TINY

from monai_diffae.semantics import AttributeDirections, LatentStatistics

BUNDLES = Path(__file__).parents[2] / "bundles"


def initialized(bundle: Path, *names: str, workflow_type: str = "infer", **options: Any) -> ConfigWorkflow:
    """A workflow of the configurations of these names, or paths, with all that MONAI asks of one; not run yet."""
    workflow = ConfigWorkflow(
        [name if name.endswith(".yaml") else str(bundle / "configs" / f"{name}.yaml") for name in names],
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type=workflow_type,
        bundle_root=str(bundle),
        **options,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    return workflow


def run(bundle: Path, *names: str, **options: Any) -> ConfigWorkflow:
    """The same, after its run."""
    workflow = initialized(bundle, *names, **options)
    workflow.run()
    return workflow


def train_briefly(bundle: Path, data: Path, folder: Path, **options: Any) -> ConfigWorkflow:
    """A training of a few iterations into ``folder``."""
    few = {"max_iterations": 2, "batch_size": 4, "num_inference_steps": 2, "num_inversion_steps": 2, "num_workers": 0}
    few |= {"dataset_dir": str(data), "output_dir": str(folder)}
    return run(bundle, "train", workflow_type="train", **(few | options))


def write_faces(folder: Path, count: int) -> Path:
    """Real faces of 25 x 25 pixels."""
    for k, pixels in enumerate((255 * lfw_subset()[:count]).astype(np.uint8)):
        Image.fromarray(pixels).save(folder / f"face{k}.png")
    return folder


def write_direction(path: Path, name: str, z_dim: int) -> str:
    """Directions of one attribute, the same way in all dimensions of z_sem."""
    statistics = LatentStatistics(torch.zeros(z_dim), torch.ones(z_dim))
    AttributeDirections([name], torch.ones(1, z_dim), torch.zeros(1), statistics).save(path)
    return str(path)


def fit(bundle: Path, data: Path, folder: Path, ckpt_path: str, attributes: list[str], **options: Any) -> Path:
    """Directions of attributes in ``folder``."""
    folders = {"dataset_dir": str(data), "output_dir": str(folder), "ckpt_path": ckpt_path}
    run(bundle, "inference", "fit_attributes", **folders, attributes=attributes, **options)
    return folder


def draw_weights(bundle: Path, path: Path, scale: float | None = None, **options: Any) -> Path:
    """Write weights with which every branch of a bundle's networks takes part.

    Args:
        bundle: its folder.
        path: of the file.
        scale: of normal weights; ``None`` for those of new networks, all moved off their start.
        options: of ``inference.yaml``.
    """
    parser = ConfigParser(ConfigParser.load_config_file(str(bundle / "configs" / "inference.yaml")))
    for key, value in options.items():
        parser.set(value, key)
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def")
    if scale is None:
        randomize(network)
    else:
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(scale * torch.randn(parameter.shape, generator=random))
    torch.save(network.state_dict(), path)
    return path


def read_table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def metrics(folder: Path) -> dict[str, float]:
    """Of the run that wrote into a folder."""
    with open(folder / "metrics.csv", newline="") as f:
        return {name: float(value) for name, value in csv.reader(f)}
