# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import torch.nn as nn
from monai.engines import Trainer

from monai_diffae.support.finite_weights import not_finite
from monai_diffae.support.torch_files import read_state_dict
from monai_diffae.support.weight_differences import weight_differences

__all__ = ["load_initial_weights"]

logger = logging.getLogger(__name__)


def load_initial_weights(path: str | os.PathLike | None, networks: Sequence[nn.Module], trainer: Trainer) -> None:
    """Start a training run from given weights (fine-tuning), unless it goes on from a checkpoint of its own.

    Args:
        path: file of a plain state dict, as the bundles' ``models/model.pt`` and what
            ``python -m monai_diffae.checkpoints.official`` writes; nothing happens for None.
        networks: that get the weights: the one that is trained, and its moving average.
        trainer: after :func:`resume_training`; where it has done iterations, the weights are those of the checkpoint.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no state dict, one of another network, or not finite; nothing has changed then.
    """
    if path is None:
        return
    if trainer.state.iteration > 0:
        logger.info(
            f"init_from {os.fspath(path)!r} is ignored: training goes on at iteration {trainer.state.iteration}."
        )
        return
    name = f"The weights in init_from {os.fspath(path)!r}"
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file init_from {os.fspath(path)!r}.")
    state = read_state_dict(path)
    if differences := weight_differences(state, networks[0].state_dict()):
        raise ValueError(f"{name} are of another network: {differences}; or give other weights.")
    if wrong := not_finite(state):
        raise ValueError(f"{name} are of a training that failed: {wrong}; give others.")
    for network in networks:
        network.load_state_dict(state)
    logger.info(f"Training starts from {os.fspath(path)}.")
