# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_diffae.metrics import manifold_measures, nearest


def by_loops(real: np.ndarray, samples: np.ndarray, k: int) -> dict[str, float]:
    def radius(points, i):
        return np.sort([np.linalg.norm(points[i] - p) for p in points])[k]

    def inside(point, points):
        return [np.linalg.norm(point - p) <= radius(points, i) for i, p in enumerate(points)]

    balls = np.array([inside(s, real) for s in samples])  # samples x real
    return {
        "precision": balls.any(axis=1).mean(),
        "recall": np.mean([any(inside(r, samples)) for r in real]),
        "density": balls.sum() / (k * len(samples)),
        "coverage": balls.any(axis=0).mean(),
    }


@pytest.mark.parametrize("k", [1, 3])
def test_measures_are_those_of_the_definitions(k):
    random = np.random.default_rng(0)
    real, samples = random.normal(size=(14, 3)), random.normal(size=(9, 3)) * 0.7 + 0.4
    measured = manifold_measures(torch.from_numpy(real), torch.from_numpy(samples), k)
    assert measured == pytest.approx(by_loops(real, samples, k))
    assert measured["precision"] > 0


def test_the_same_points_are_covered_and_far_ones_are_not():
    real = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    same = manifold_measures(real, real.clone(), 2)
    assert same["precision"] == same["recall"] == same["coverage"] == 1
    assert set(manifold_measures(real, real + 100, 2).values()) == {0}


def test_samples_of_one_kind_have_precision_without_recall():
    generator = torch.Generator().manual_seed(0)
    real = torch.cat([torch.randn(20, 2, generator=generator), torch.randn(20, 2, generator=generator) + 50])
    samples = torch.randn(20, 2, generator=generator)
    measured = manifold_measures(real, samples, 3)
    assert measured["precision"] > 0.7
    assert measured["recall"] < 0.6
    assert measured["coverage"] <= 0.5


@pytest.mark.parametrize("k", [0, 4])
def test_too_few_points_are_refused(k):
    with pytest.raises(ValueError, match="k must be"):
        manifold_measures(torch.zeros(4, 2), torch.zeros(9, 2), k)


def test_nearest_point_is_found():
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [10.0, 0.0]])
    distances, indices = nearest(torch.tensor([[0.0, 5.0], [10.0, 0.0]]), points)
    assert indices.tolist() == [1, 2]
    assert distances == pytest.approx([10**0.5, 0])
