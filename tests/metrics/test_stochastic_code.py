# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from scipy.stats import kurtosis

from monai_diffae.metrics import x_T_statistics


def test_white_noise_has_the_statistics_of_white_noise():
    x = torch.randn(3, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    values = x_T_statistics(x)
    for name, expected in (("mean", 0), ("variance", 1), ("excess_kurtosis", 0), ("neighbour_correlation", 0)):
        assert values[name].shape == (3,)
        assert values[name].tolist() == pytest.approx([expected] * 3, abs=0.1), name


def test_kurtosis_is_that_of_scipy():
    x = torch.randn(2, 2, 16, 16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).pow(3)
    expected = [kurtosis(image.flatten().numpy()) for image in x]
    assert x_T_statistics(x)["excess_kurtosis"].tolist() == pytest.approx(expected)


def test_two_equal_values_have_the_kurtosis_of_a_coin():
    x = torch.tensor([1.0, -1.0]).repeat(32).reshape(1, 1, 8, 8)
    values = x_T_statistics(x)
    assert values["variance"].item() == 1
    assert values["excess_kurtosis"].item() == -2
    # Along rows neighbours are opposite, along columns they are equal.
    assert values["neighbour_correlation"].item() == 0


def test_correlation_of_an_averaged_field_is_known():
    """Sums of two neighbours share one of two independent parts along one axis, and nothing along the other."""
    x = torch.randn(1, 1, 257, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    field = x[..., 1:, :] + x[..., :-1, :]
    assert x_T_statistics(field)["neighbour_correlation"].item() == pytest.approx(0.25, abs=0.01)
