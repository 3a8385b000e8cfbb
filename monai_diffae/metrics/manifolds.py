# SPDX-License-Identifier: Apache-2.0
"""Whether samples lie where images are, and are everywhere where images are; and how near the nearest image is."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

__all__ = ["manifold_measures", "nearest"]


def manifold_measures(real: torch.Tensor, samples: torch.Tensor, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage from balls around points, each reaching to its k-th nearest neighbour of
    the same set.

    ``precision``: share of samples in a ball of a real image. ``recall``: share of real images in a ball of a sample.
    ``density``: mean number of balls of real images that a sample is in, over k; above 1 where samples crowd.
    ``coverage``: share of real images whose ball holds a sample.

    References:
        Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, NeurIPS 2019; Naeem
        et al., Reliable Fidelity and Diversity Metrics for Generative Models, ICML 2020.

    Args:
        real: features ``(N, D)``, N above k.
        samples: features ``(M, D)``, M above k.
        k: neighbours.

    Raises:
        ValueError: for other shapes, or k below 1.
    """
    if real.ndim != 2 or samples.ndim != 2 or real.shape[1] != samples.shape[1]:
        raise ValueError(f"Expected features (N, D) and (M, D), got {list(real.shape)} and {list(samples.shape)}.")
    if not 1 <= k < min(len(real), len(samples)):
        raise ValueError(f"k must be 1 or more and below both numbers, {len(real)} and {len(samples)}; got {k}.")
    real, samples = real.double(), samples.double()
    distance = torch.cdist(real, samples, compute_mode="donot_use_mm_for_euclid_dist")  # (N, M)
    real_radii, sample_radii = _radii(real, k), _radii(samples, k)
    in_real = distance <= real_radii[:, None]
    return {
        "precision": float(in_real.any(dim=0).double().mean()),
        "recall": float((distance <= sample_radii[None]).any(dim=1).double().mean()),
        "density": float(in_real.double().sum(dim=0).mean() / k),
        "coverage": float(in_real.any(dim=1).double().mean()),
    }


def _radii(points: torch.Tensor, k: int) -> torch.Tensor:
    """To the k-th nearest other point."""
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.kthvalue(k + 1, dim=1).values  # the nearest is the point itself


def nearest(queries: torch.Tensor, points: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of other points, by Euclidean distance.

    Args:
        queries: shape ``(Q, D)``.
        points: shape ``(N, D)``, N of 1 or more.

    Returns:
        Distances and indices of the nearest points, shape ``(Q,)`` each.
    """
    finder = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points.double().numpy())
    distances, indices = finder.kneighbors(queries.double().numpy())
    return distances[:, 0], indices[:, 0]
