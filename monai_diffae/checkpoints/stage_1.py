# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from typing import TypeVar

import torch
import torch.nn as nn

from monai_diffae.checkpoints.weights import load_weights

__all__ = ["check_stage_1", "load_stage_1"]

Network = TypeVar("Network", bound=nn.Module)


def load_stage_1(network: Network, path: str | os.PathLike) -> Network:
    """Load the compression model of a :class:`~monai_diffae.networks.LatentSpaceAutoencoder`; returns the network.

    Args:
        network: on its device.
        path: a plain state dict of the MONAI ``AutoencoderKL`` or ``VQVAE``, as ``train_autoencoder.yaml`` writes it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another model.
    """
    load_weights(network.stage_1.model, path)
    return network


def check_stage_1(network: nn.Module, path: str | os.PathLike) -> None:
    """After a run was resumed: latents of another compression model would mean other images.

    Args:
        network: with the weights of the checkpoint.
        path: of the compression model that was given to this run.

    Raises:
        ValueError: if the checkpoint was trained on the latents of other weights.
    """
    given = torch.load(path, map_location="cpu", weights_only=True)
    trained_on = network.stage_1.model.state_dict()
    if any(not torch.equal(value.cpu(), given[name]) for name, value in trained_on.items()):
        raise ValueError(
            f"The checkpoint was trained on latents of another compression model than {os.fspath(path)!r}; give that "
            "one with stage_1_path, or start afresh with another output_dir or resume=false."
        )
