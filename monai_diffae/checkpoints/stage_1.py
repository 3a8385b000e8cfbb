# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import torch.nn as nn

from monai_diffae.checkpoints.weights import load_weights

__all__ = ["load_stage_1"]

Network = TypeVar("Network", bound=nn.Module)


def load_stage_1(network: Network, path: str | os.PathLike) -> Network:
    """Load the compression model of a :class:`~monai_diffae.networks.LatentSpaceAutoencoder`; returns the network.

    From then on it cannot be exchanged: a checkpoint that was trained on the latents of other weights is refused, since
    its latents mean other images.

    Args:
        network: on any device.
        path: a plain state dict of the MONAI ``AutoencoderKL`` or ``VQVAE``, as ``train_autoencoder.yaml`` writes it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another model; and later, when a state dict with another compression model is loaded.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"There is no compression model {os.fspath(path)!r}: train one with train_autoencoder.yaml, or give the "
            "weights of one with stage_1_path."
        )
    model = load_weights(network.stage_1.model, path)

    def check(module: nn.Module, state_dict: Mapping[str, torch.Tensor], prefix: str, *_: Any) -> None:
        for name, value in module.state_dict().items():
            loaded = state_dict.get(prefix + name)
            if loaded is not None and not torch.equal(loaded.cpu(), value.cpu()):
                raise ValueError(
                    f"These weights were trained on latents of another compression model than {os.fspath(path)!r}; "
                    "give that one with stage_1_path, or start afresh with another output_dir or resume=false."
                )

    model.register_load_state_dict_pre_hook(check)
    return network
