# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from monai_diffae.training import Muon, make_optimizer
from monai_diffae.training.muon import orthogonalize


def parameters(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator)
    return params


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16)])
def test_singular_values_become_about_one(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)) * 5
    values = torch.linalg.svdvals(orthogonalize(matrices))
    assert values.min() > 0.3
    assert values.max() < 1.25
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    close = torch.nn.functional.cosine_similarity(orthogonalize(matrices).flatten(1), (u @ vh).flatten(1))
    assert close.min() > 0.95


def test_a_matrix_of_zeros_stays_zero():
    assert not orthogonalize(torch.zeros(1, 4, 6)).any()


@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (8, 4, 3, 3, 3), (12, 20)])
def test_the_first_step_of_a_convolution_is_orthogonal_and_of_adams_size(shape):
    (p,) = parameters(shape)
    before = p.detach().clone()
    Muon([p], lr=0.1).step()
    update = ((before - p.detach()) / 0.1).flatten(1)
    values = torch.linalg.svdvals(update) / (0.2 * math.sqrt(max(update.shape)))
    assert values.min() > 0.3
    assert values.max() < 1.25
    assert ((before - p.detach()) * p.grad).sum() > 0  # downhill


def test_what_is_no_matrix_is_trained_by_adam():
    ours, theirs = parameters((7,), ()), parameters((7,), ())
    muon, adam = Muon(ours, lr=0.03), torch.optim.Adam(theirs, lr=0.03)
    for _ in range(4):
        muon.step()
        adam.step()
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b)


def test_a_parameter_without_a_gradient_is_left_alone():
    p, q = parameters((4, 4), (4, 4))
    q.grad = None
    before = q.detach().clone()
    Muon([p, q]).step()
    assert torch.equal(q, before)


def test_it_goes_on_from_its_state():
    straight, halves = parameters((6, 5), (5,)), parameters((6, 5), (5,))
    optimizer, first = Muon(straight), Muon(halves)
    for _ in range(2):
        optimizer.step()
        first.step()
    second = Muon(halves)
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        optimizer.step()
        second.step()
    for a, b in zip(straight, halves):
        assert torch.equal(a, b)


def test_it_learns_a_linear_map():
    generator = torch.Generator().manual_seed(0)
    x, target = torch.randn(64, 6, generator=generator), torch.randn(4, 6, generator=generator)
    layer = torch.nn.Linear(6, 4)
    optimizer = Muon(layer.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (layer(x) - x @ target.T).square().mean()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(120)]
    assert losses[-1] < losses[0] / 20


@pytest.mark.parametrize("arguments", [{"lr": -1}, {"momentum": 1.0}])
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="Expected lr of at least 0"):
        Muon(parameters((2, 2)), **arguments)


def test_optimizers_have_names():
    assert isinstance(make_optimizer("muon", parameters((2, 2)), 1e-3), Muon)
    adam = make_optimizer("adam", parameters((2, 2)), 2e-3)
    assert isinstance(adam, torch.optim.Adam)
    assert adam.param_groups[0]["lr"] == 2e-3
    with pytest.raises(ValueError, match="optimizer must be one of adam, muon, got 'sgd'"):
        make_optimizer("sgd", parameters((2, 2)), 1e-3)
