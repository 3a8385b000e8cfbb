# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable

import torch

from monai_diffae.training.muon import Muon

__all__ = ["make_optimizer"]


def make_optimizer(name: str, params: Iterable[torch.nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """The optimiser that the id ``optimizer`` of the bundles names.

    Args:
        name: ``adam`` (the paper's) or ``muon`` (:class:`Muon`; a step takes longer and learns more).
        params: of the network.
        learning_rate: of either; a good one for Adam is not far from a good one for Muon.

    Raises:
        ValueError: for another name.
    """
    if name == "adam":
        return torch.optim.Adam(params, lr=learning_rate, fused=True)
    if name == "muon":
        return Muon(params, lr=learning_rate)
    raise ValueError(f"optimizer must be one of adam, muon, got {name!r}.")
