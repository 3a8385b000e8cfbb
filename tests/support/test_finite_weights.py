# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from monai_diffae.support.finite_weights import not_finite


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_tensor_that_is_not_finite_is_named(value):
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    assert not_finite(network.state_dict()) == ""
    network[1].running_var[0] = value
    assert not_finite(network.state_dict()) == "1 of 6 tensors are not finite (1.running_var is the first)"


def test_states_of_optimisers_and_whole_checkpoints_are_looked_through():
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter])
    parameter.sum().backward()
    optimizer.step()
    checkpoint = {"optimizer": optimizer.state_dict(), "trainer": {"iteration": 1}, "name": "run", "none": None}
    assert not_finite(checkpoint) == ""
    optimizer.state[parameter]["exp_avg_sq"][0] = math.inf
    assert "optimizer.state.0.exp_avg_sq is the first" in not_finite(checkpoint)


def test_numbers_that_have_no_nan_do_not_count():
    assert not_finite({"steps": torch.tensor([1]), "flag": torch.tensor([True])}) == ""
    assert not_finite({}) == ""
