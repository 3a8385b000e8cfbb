# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from typing import TypeVar

import torch.nn as nn

from monai_diffae.support.finite_weights import not_finite
from monai_diffae.support.torch_files import read_state_dict
from monai_diffae.support.weight_differences import weight_differences

__all__ = ["load_weights"]

Network = TypeVar("Network", bound=nn.Module)


def load_weights(network: Network, path: str | os.PathLike) -> Network:
    """Load a plain state dict into a network, strictly, and return the network.

    For configurations in which something is computed from the loaded network before an engine starts, which is when
    MONAI's ``CheckpointLoader`` loads.

    Args:
        network: on its device.
        path: file of a state dict, as the bundles' ``models/*.pt``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the state dict is not one of this network, or not finite.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There are no weights {os.fspath(path)!r}; train them or give another file.")
    state = read_state_dict(path)
    if differences := weight_differences(state, network.state_dict()):
        raise ValueError(
            f"The weights in {os.fspath(path)!r} are of another network: {differences}; or give another file."
        )
    if wrong := not_finite(state):
        raise ValueError(
            f"The weights in {os.fspath(path)!r} are of a training that failed: {wrong}; give another file."
        )
    network.load_state_dict(state)
    return network
