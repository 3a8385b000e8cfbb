# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.testing import assert_close

from monai_diffae.semantics import lerp, slerp

WEIGHTS = [0.0, 0.25, 0.5, 0.75, 1.0]


def noise(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(shape), torch.randn(shape)


@pytest.mark.parametrize("weight", [*WEIGHTS, -0.5, 1.5])
def test_lerp_is_the_straight_line_also_beyond_its_ends(weight):
    x_from, x_to = noise(3, 5)
    assert_close(lerp(x_from, x_to, weight), (1 - weight) * x_from + weight * x_to)


@pytest.mark.parametrize("interpolate", [lerp, slerp])
def test_ends_are_the_given_samples(interpolate):
    x_from, x_to = noise(3, 1, 4, 4)
    assert_close(interpolate(x_from, x_to, 0.0), x_from)
    assert_close(interpolate(x_from, x_to, 1.0), x_to)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_slerp_keeps_the_norm_that_a_straight_line_would_shrink(weight):
    x_from, x_to = (x / x.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1) for x in noise(3, 1, 8, 8))
    assert_close(slerp(x_from, x_to, weight).flatten(1).norm(dim=1), torch.ones(3), rtol=0, atol=1e-5)
    if weight == 0.5:
        assert (lerp(x_from, x_to, weight).flatten(1).norm(dim=1) < 0.9).all()


@pytest.mark.parametrize("weight", WEIGHTS)
def test_slerp_turns_by_its_share_of_the_angle(weight):
    x_from, x_to = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 2.0]])
    angle = torch.tensor(weight * torch.pi / 2)
    expected = 2 * torch.stack([angle.cos(), torch.tensor(0.0), angle.sin()])[None]
    assert_close(slerp(x_from, x_to, weight), expected, rtol=0, atol=1e-6)


def test_slerp_takes_the_angle_of_each_sample_by_itself():
    x_from, x_to = noise(4, 2, 3, 3)
    x_to[1] = x_from[1]
    x_to[2] = -x_from[2]
    one_by_one = torch.cat([slerp(x_from[i : i + 1], x_to[i : i + 1], 0.3) for i in range(4)])
    assert_close(slerp(x_from, x_to, 0.3), one_by_one)


@pytest.mark.parametrize("scale", [1.0, 3.0, -1.0], ids=["equal", "parallel", "antiparallel"])
@pytest.mark.parametrize("weight", WEIGHTS)
def test_slerp_of_parallel_samples_is_the_straight_line(weight, scale):
    x_from, _ = noise(2, 1, 4, 4)
    assert_close(slerp(x_from, scale * x_from, weight), (1 - weight) * x_from + weight * scale * x_from)


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["nearly_parallel", "nearly_antiparallel"])
def test_slerp_is_finite_and_no_longer_than_its_ends_near_parallel_samples(sign, gap):
    x_from = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    x_to = torch.tensor([[sign * math.cos(gap), math.sin(gap)]], dtype=torch.float64)
    for weight in WEIGHTS:
        assert slerp(x_from, x_to, weight).norm() < 1.0001
    assert_close(slerp(x_from, x_to, 1.0), x_to)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_slerp_keeps_the_dtype_and_is_as_exact_as_it_allows(dtype):
    x_from, x_to = (x.to(dtype) for x in noise(2, 1, 8, 8))
    middle = slerp(x_from, x_to, 0.4)
    assert middle.dtype == dtype
    assert_close(middle.double(), slerp(x_from.double(), x_to.double(), 0.4), rtol=0, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("interpolate", [lerp, slerp])
def test_interpolation_changes_neither_of_its_arguments(interpolate):
    x_from, x_to = noise(2, 3)
    before = x_from.clone(), x_to.clone()
    interpolate(x_from, x_to, 0.5)
    assert torch.equal(x_from, before[0])
    assert torch.equal(x_to, before[1])
