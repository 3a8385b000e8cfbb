# SPDX-License-Identifier: Apache-2.0
"""MONAI's metadata: networks and loops run without it, results get that of the inputs."""

from __future__ import annotations

import torch
from monai.data import MetaTensor
from monai.utils import convert_to_tensor

__all__ = ["like_input", "plain"]


def plain(x: torch.Tensor) -> torch.Tensor:
    """Without MONAI's metadata, which would be carried through every operation of the network."""
    return convert_to_tensor(x, track_meta=False)


def like_input(x: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """``x`` with the metadata (affine, file name) of ``inputs``, if it has any."""
    return MetaTensor(x).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else x
