# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Engine
from ignite.handlers import EMAHandler

from monai_diffae.training import EMAWarmUp, ForeachEMAHandler


def averaged(handler_class, network: torch.nn.Module, **options) -> dict[str, torch.Tensor]:
    """The average after five changes of the weights, at the momentum of a warm-up."""
    network = copy.deepcopy(network)
    handler = handler_class(network, momentum=0.01, **options)
    generator = torch.Generator().manual_seed(1)

    def step(engine: Engine, batch: int) -> None:
        with torch.no_grad():
            for value in network.state_dict().values():
                if value.is_floating_point():
                    value.add_(torch.randn(value.shape, generator=generator).to(value))
                else:
                    value.add_(1)

    engine = Engine(step)
    EMAWarmUp(0.99).attach(engine)
    handler.attach(engine)
    engine.run(range(5))
    assert not any(parameter.requires_grad for parameter in handler.ema_model.parameters())
    return handler.ema_model.state_dict()


def assert_same(network: torch.nn.Module, **options) -> None:
    mine, ignites = (averaged(kind, network, **options) for kind in (ForeachEMAHandler, EMAHandler))
    assert list(mine) == list(ignites)  # the layout of checkpoints
    for name, value in mine.items():
        torch.testing.assert_close(value, ignites[name], rtol=1e-6, atol=1e-6)
        assert not torch.equal(value, network.state_dict()[name])


def test_the_average_is_that_of_ignite(tiny_autoencoder):
    assert_same(tiny_autoencoder)


@pytest.mark.parametrize("handle_buffers", ["copy", "update"])
def test_buffers_are_treated_as_by_ignite(handle_buffers, device):
    assert_same(torch.nn.Sequential(torch.nn.BatchNorm1d(3)).to(device), handle_buffers=handle_buffers)


def test_weights_that_do_not_change_stay_as_they_are_to_the_bit():
    network = torch.nn.Linear(100, 100)
    handler = ForeachEMAHandler(network, momentum=0.01)
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    engine.run(range(50))
    assert torch.equal(handler.ema_model.weight, network.weight)
