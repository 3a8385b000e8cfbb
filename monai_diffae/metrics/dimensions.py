# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

__all__ = ["effective_dimension"]


def effective_dimension(features: torch.Tensor) -> dict[str, float]:
    """In how many dimensions features vary, from the eigenvalues l of their covariance.

    ``participation_ratio``: ``(sum l)^2 / sum l^2``. ``effective_rank``: ``exp(-sum p log p)`` with
    ``p = l / sum l``. Both are D for D independent numbers of equal variance and 1 where all lie on a line.

    References:
        Roy and Vetterli, The effective rank, EUSIPCO 2007 (there of singular values); Gao et al., A theory of
        multineuronal dimensionality, bioRxiv 214262, 2017 (participation ratio).

    Args:
        features: shape ``(N, D)``, N of 2 or more.

    Raises:
        ValueError: for another shape or features that do not vary.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"Expected features (N, D) of two images or more, got shape {list(features.shape)}.")
    centred = features.double() - features.double().mean(dim=0)
    eigenvalues = torch.linalg.svdvals(centred).square()
    if not eigenvalues.sum() > 0:
        raise ValueError("The features are the same for all images; they have no dimension.")
    p = eigenvalues / eigenvalues.sum()
    return {
        "participation_ratio": float(1 / p.square().sum()),
        "effective_rank": float(torch.exp(torch.special.entr(p).sum())),
    }
