# SPDX-License-Identifier: Apache-2.0
"""A training whose numbers are NaN or infinite ends with an error, and saves nothing of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, from_engine

from monai_diffae.metrics import NaNMetrics
from monai_diffae.training import (
    DiffusionTrainer,
    FinalWeightsSaver,
    GradientClippingHandler,
    RegularValidation,
    RunCheckpoints,
    StopOnNotFinite,
)
from monai_diffae.training.not_finite import _SKIPPED

NAMES = ["a.png", "b.png", "c.png", "d.png"]


class Network(torch.nn.Module):
    """Multiplies by its weight; the gradient is that of ``backward`` where this is given."""

    def __init__(self, backward: float | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        if backward is not None:
            self.weight.register_hook(lambda gradient: torch.full_like(gradient, backward))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def run(
    folder: Path,
    values: list[float],
    network: torch.nn.Module | None = None,
    precision: str = "float32",
    lr: float = 0.0,
    validation: float = 1.0,
    iterations: int | None = None,
) -> DiffusionTrainer:
    """Batches of one value each, a checkpoint after each; the loss is the value times the weight."""
    network = network or Network()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    state = {"network": network, "optimizer": optimizer}
    label = torch.zeros(1)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader([{"image": torch.tensor([validation]), "label": label}], batch_size=1),
        network=network,
        key_val_metric={
            "loss": IgniteMetricHandler(loss_fn=torch.nn.L1Loss(), output_transform=from_engine(["pred", "label"]))
        },
        val_handlers=[NaNMetrics()],
    )
    data = [{"image": torch.tensor([x]), "label": label, "index": i % len(NAMES)} for i, x in enumerate(values)]
    iterations = iterations or len(values)
    trainer = DiffusionTrainer(
        device=torch.device("cpu"),
        max_epochs=iterations,
        epoch_length=1,
        train_data_loader=DataLoader(data, batch_size=1),
        network=network,
        optimizer=optimizer,
        loss_function=lambda prediction, label: prediction.mean(),
        precision=precision,
        train_handlers=[
            GradientClippingHandler(1e30),
            StopOnNotFinite(state, folder, NAMES.__getitem__, [evaluator]),
            RegularValidation(1, evaluator),
            FinalWeightsSaver(folder, {"model.pt": network}),
        ],
    )
    RunCheckpoints(state | {"trainer": trainer}, folder, output_dir=folder.parent).attach(trainer)
    trainer.run()
    return trainer


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.pt"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_the_training_with_step_file_and_checkpoint(tmp_path, value):
    with pytest.raises(FloatingPointError) as raised:
        run(tmp_path, [1.0, 2.0, value, 3.0])
    message = str(raised.value)
    assert f"the loss is {value} at iteration 3 (batch: c.png)" in message
    assert f"The last good checkpoint is {tmp_path / 'checkpoint_2.pt'}." in message
    assert names(tmp_path) == ["checkpoint_1.pt", "checkpoint_2.pt"]


def test_in_the_first_iteration_there_is_no_checkpoint(tmp_path):
    with pytest.raises(FloatingPointError, match=r"batch: a.png.*There is no checkpoint yet"):
        run(tmp_path, [math.nan])
    assert names(tmp_path) == []


@pytest.mark.parametrize("gradient", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_ends_the_training_in_its_own_iteration(tmp_path, gradient):
    with pytest.raises(FloatingPointError, match=f"the norm of the gradient is {gradient} at iteration 1 "):
        run(tmp_path, [1.0, 2.0], Network(backward=gradient))
    assert names(tmp_path) == []


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    network = Network()
    network.register_parameter("unused", torch.nn.Parameter(torch.tensor([math.inf])))
    with pytest.raises(FloatingPointError, match=r"of network, 1 of 2 tensors are not finite \(unused is the first\)"):
        run(tmp_path, [1.0], network)
    assert names(tmp_path) == []


def test_a_state_of_the_optimiser_that_is_not_finite_is_not_saved(tmp_path):
    state = {"state": {0: {"exp_avg_sq": torch.tensor([math.inf])}}, "param_groups": [{"lr": 1.0}]}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    optimizer.state_dict = lambda: state
    handler = StopOnNotFinite({"optimizer": optimizer}, tmp_path)
    trainer = run(tmp_path / "fine", [1.0])
    with pytest.raises(FloatingPointError, match=r"optimizer.*state.0.exp_avg_sq is the first"):
        handler._check_weights(trainer)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_loss_that_is_not_finite_is_not_called_0(tmp_path, value):
    with pytest.raises(FloatingPointError, match=f"loss of the validation is {value} after iteration 1"):
        run(tmp_path, [1.0], validation=value)
    assert names(tmp_path) == []


@pytest.mark.filterwarnings("ignore:.*GradScaler")
def test_scaled_gradients_leave_out_a_batch_but_not_all(tmp_path, caplog):
    values = [1.0, math.inf, 1.0]
    trainer = run(tmp_path / "one", values, precision="float16", lr=0.5)
    assert trainer.state.iteration == 3
    assert float(trainer.network.weight.detach()) == pytest.approx(1 - 2 * 0.5)
    assert "In float16, the loss is inf at iteration 2 (batch: b.png)" in caplog.text
    with pytest.raises(FloatingPointError, match=f"the loss is inf at iteration {_SKIPPED} "):
        run(tmp_path / "all", [math.inf], precision="float16", iterations=2 * _SKIPPED)
