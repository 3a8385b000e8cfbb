# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable

import torch

from monai_diffae.training.muon import Muon

__all__ = ["make_optimizer"]


def make_optimizer(
    name: str,
    params: Iterable[torch.nn.Parameter],
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """The optimiser that the id ``optimizer`` of the bundles names.

    Args:
        name: ``adam`` (the paper's) or ``muon`` (:class:`Muon`; a step takes longer and learns more).
        params: of the network.
        lr: learning rate of either; a good one for Adam is not far from a good one for Muon.
        betas: of Adam, and of what Muon trains by Adam.
        eps: likewise.

    Raises:
        ValueError: for another name, and for a learning rate below 0 (0 leaves the weights as they are).
    """
    if not lr >= 0:
        raise ValueError(f"learning_rate must be 0 or more, got {lr}.")
    if name == "adam":
        return torch.optim.Adam(params, lr=lr, betas=tuple(betas), eps=eps, fused=True)
    if name == "muon":
        return Muon(params, lr=lr, betas=tuple(betas), eps=eps)
    raise ValueError(f"optimizer must be one of adam, muon, got {name!r}.")
