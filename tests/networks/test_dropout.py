# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from monai_diffae.networks.dropout import Dropout

SHAPES = [(4, 64, 32, 32), (3, 5, 7, 11)]  # the second has a number of values that four do not divide


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_dropped_or_scaled_by_what_is_left(dtype, shape, device):
    x = torch.ones(shape, dtype=dtype, device=device)
    values = Dropout(0.25).to(device)(x)
    assert values.dtype == dtype
    assert values.unique().tolist() == pytest.approx([0, 1 / 0.75], abs=1e-2)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_of_dropped_values_and_their_mean_are_those_asked_for(p, device):
    values = Dropout(p).to(device)(torch.ones(2**20, device=device))
    error = 5 * (p * (1 - p) / 2**20) ** 0.5  # standard deviations of the share
    assert (values == 0).double().mean().item() == pytest.approx(p, abs=error)
    assert values.double().mean().item() == pytest.approx(1, abs=error / (1 - p))


def test_neighbours_are_dropped_independently(device):
    dropped = (Dropout(0.5).to(device)(torch.ones(2**18, device=device)) == 0).double() - 0.5
    for lag in (1, 2, 3, 4, 8):  # four values share a draw
        assert abs(4 * (dropped[lag:] * dropped[:-lag]).mean().item()) < 5 * 2**-9


def test_gradients_are_dropped_with_their_values(device):
    x = torch.randn(8, 100, device=device, requires_grad=True)
    values = Dropout(0.3).to(device)(x)
    values.sum().backward()
    assert torch.equal(x.grad == 0, values == 0)


def test_seed_decides(device):
    x, dropout = torch.ones(100, device=device), Dropout(0.5).to(device)
    torch.manual_seed(3)
    first = dropout(x)
    assert not torch.equal(dropout(x), first)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)


@pytest.mark.parametrize(("p", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_nothing_or_all_is_dropped_at_the_ends(p, expected, device):
    assert (Dropout(p).to(device)(torch.ones(100, device=device)) == expected).all()


def test_evaluation_leaves_values_as_they_are(device):
    x = torch.randn(100, device=device)
    assert torch.equal(Dropout(0.5).to(device).eval()(x), x)
    assert isinstance(Dropout(0.5), nn.Dropout)
