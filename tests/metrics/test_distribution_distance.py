# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from monai_diffae.metrics import frechet_distance, kernel_distance


def sets(n: int, m: int, dims: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n + m)
    mix = torch.randn(dims, dims, dtype=torch.float64, generator=generator)
    x = torch.randn(n, dims, dtype=torch.float64, generator=generator)
    y = torch.randn(m, dims, dtype=torch.float64, generator=generator) @ mix + 0.5
    return x, y


@pytest.mark.parametrize(("n", "m"), [(50, 40), (40, 5), (5, 6)])
def test_frechet_distance_is_that_with_the_root_of_a_matrix(n, m):
    x, y = sets(n, m, 8)
    a, b = (np.cov(f.numpy(), rowvar=False) for f in (x, y))
    root = sqrtm(a @ b + 1e-12 * np.eye(8))
    expected = float(((x.mean(0) - y.mean(0)) ** 2).sum()) + np.trace(a + b - 2 * np.real(root))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-3)


def test_frechet_distance_of_normal_numbers_is_known():
    x = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]])
    y = 3 * x + 5
    # One number: (5)^2 + (s_x - s_y)^2
    assert frechet_distance(x, y) == pytest.approx(25 + float((x.std() - y.std()) ** 2))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)


def test_kernel_distance_is_the_sum_over_pairs():
    x, y = sets(5, 7, 3)

    def k(a, b):
        return (float(a @ b) / 3 + 1) ** 3

    among = [
        np.mean([k(f[i], f[j]) for i in range(len(f)) for j in range(len(f)) if i != j]) for f in (x.numpy(), y.numpy())
    ]
    across = np.mean([k(a, b) for a in x.numpy() for b in y.numpy()])
    assert kernel_distance(x, y) == pytest.approx(sum(among) - 2 * across)


def test_kernel_distance_is_zero_on_average_for_one_distribution():
    generator = torch.Generator().manual_seed(0)
    distances = [kernel_distance(*torch.randn(2, 20, 4, generator=generator)) for _ in range(300)]
    assert abs(np.mean(distances)) < 3 * np.std(distances) / 300**0.5
    assert min(distances) < 0
    assert kernel_distance(torch.randn(20, 4, generator=generator), torch.randn(20, 4, generator=generator) + 2) > 1


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_other_shapes_are_refused(distance):
    with pytest.raises(ValueError, match="two images or more"):
        distance(torch.zeros(1, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="two images or more"):
        distance(torch.zeros(4, 2), torch.zeros(4, 3))
