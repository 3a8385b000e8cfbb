# SPDX-License-Identifier: Apache-2.0
"""Runs the workflows of a bundle's latent diffusion on a small network that the tests make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from workflows import initialized
from workflows import read_table as read_table

REPOSITORY = Path(__file__).parents[2]


class Bundle:
    """A bundle with the weights of an untrained autoencoder in ``folder``."""

    def __init__(self, name: str, folder: Path, **options: Any) -> None:
        self.root = REPOSITORY / "bundles" / name
        self.configs = self.root / "configs"
        parser = ConfigParser()
        parser.read_config(str(self.configs / "inference.yaml"))
        parser.update(options)
        torch.manual_seed(0)
        torch.save(parser.get_parsed_content("network_def").state_dict(), folder / "model.pt")
        self.options = options | {"ckpt_path": str(folder / "model.pt")}

    def randomize(self) -> Bundle:
        """Move all weights off the zeros of a new network, so that its output depends on its input."""
        state = torch.load(self.options["ckpt_path"], weights_only=True)
        generator = torch.Generator().manual_seed(1)
        state = {key: x + 0.02 * torch.randn(x.shape, generator=generator) for key, x in state.items()}
        torch.save(state, self.options["ckpt_path"])
        return self

    def workflow(self, *names: str, workflow_type: str = "infer", **options: Any) -> ConfigWorkflow:
        return initialized(self.root, *names, workflow_type=workflow_type, **(self.options | options))

    def run(self, *names: str, **options: Any) -> ConfigWorkflow:
        workflow = self.workflow(*names, **options)
        workflow.run()
        return workflow

    def train(self, folder: Path, *presets: str, **options: Any) -> ConfigWorkflow:
        """A training of a few iterations into ``folder``."""
        few = {"latent_batch_size": 8, "latent_max_iterations": 4, "epoch_length": 2, "val_interval": 1}
        few |= {"latent_network_def::hidden_dim": 32, "latent_network_def::num_layers": 3}
        few |= {"output_dir": str(folder)}
        return self.run("inference", "train_latent", *presets, workflow_type="train", **(few | options))


def weights_of(folder: Path) -> dict[str, str]:
    """Options by which sample.yaml takes the weights of :meth:`Bundle.train`."""
    return {
        "latent_ckpt_path": str(folder / "models" / "latent.pt"),
        "statistics_path": str(folder / "models" / "statistics.pt"),
        "latent_network_def::hidden_dim": 32,
        "latent_network_def::num_layers": 3,
        "num_latent_inference_steps": 5,
        "num_inference_steps": 2,
        "progress": False,
    }


def root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)
