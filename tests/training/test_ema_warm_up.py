# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from ignite.engine import Engine
from ignite.handlers import EMAHandler

from monai_diffae.training import EMAWarmUp


def averages(iterations: int, decay: float) -> list[float]:
    """The average of a weight that is the iteration's number, after each iteration."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)

    def set_weight(engine: Engine, batch: int) -> None:
        torch.nn.init.constant_(model.weight, engine.state.iteration)
        weights.append(float(handler.ema_model.weight))

    weights: list[float] = []
    trainer, handler = Engine(set_weight), EMAHandler(model, momentum=1 - decay)
    EMAWarmUp(decay).attach(trainer)
    handler.attach(trainer)
    trainer.run(range(iterations))
    return [*weights[1:], float(handler.ema_model.weight)]


def test_average_follows_at_first_and_slowly_later():
    expected, average = [], 0.0
    for k in range(1, 41):
        decay = min(0.7, (1 + k) / (10 + k))
        average = decay * average + (1 - decay) * k
        expected.append(average)
    assert averages(40, 0.7) == pytest.approx(expected, rel=1e-5)


def test_momentum_depends_on_the_iteration_alone_so_that_a_resumed_run_goes_on():
    trainer = Engine(lambda engine, batch: None)
    EMAWarmUp(0.999).attach(trainer)
    trainer.load_state_dict({"iteration": 20, "epoch_length": 30, "max_epochs": 1})
    trainer.run(range(30))
    assert trainer.state.ema_momentum == pytest.approx(9 / 40)
    trainer.load_state_dict({"iteration": 99_990, "epoch_length": 100_000, "max_epochs": 1})
    trainer.run(range(100_000))
    assert trainer.state.ema_momentum == pytest.approx(0.001)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5])
def test_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay must be in \(0, 1\), got"):
        EMAWarmUp(decay)
