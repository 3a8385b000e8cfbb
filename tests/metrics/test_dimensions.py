# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from monai_diffae.metrics import effective_dimension


def test_independent_numbers_have_their_number_of_dimensions():
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)
    padded = torch.cat([corners, torch.full((16, 3), 7.0)], dim=1)
    assert effective_dimension(padded) == pytest.approx({"participation_ratio": 4, "effective_rank": 4})


def test_two_variances_are_those_of_the_formula():
    x = torch.cartesian_prod(torch.tensor([-1.0, 1.0]), torch.tensor([-2.0, 2.0]))
    entropy = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    expected = {"participation_ratio": 25 / 17, "effective_rank": math.exp(entropy)}
    assert effective_dimension(x) == pytest.approx(expected)


def test_what_does_not_vary_has_no_dimension():
    with pytest.raises(ValueError, match="same for all"):
        effective_dimension(torch.ones(5, 3))
    with pytest.raises(ValueError, match="two images"):
        effective_dimension(torch.ones(1, 3))
