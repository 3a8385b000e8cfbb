# SPDX-License-Identifier: Apache-2.0
"""A training runs the iterations asked for, whatever the length of an epoch, and steps of the optimiser are counted."""

from __future__ import annotations

import warnings
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from monai.optimizers import WarmupCosineSchedule
from monai.transforms import Compose

from monai_diffae.data import EndlessSampler, SeededDataset
from monai_diffae.training import (
    DiffusionTrainer,
    EMAWarmUp,
    ForeachEMAHandler,
    GradientClippingHandler,
    RegularValidation,
    SamplesToCome,
    resume_training,
    run_to_end,
    set_iteration,
)
from monai_diffae.training.optimizer_steps import optimizer_steps, optimizer_steps_done

DATA = [{"image": torch.tensor([float(i), 1.0]), "label": 0} for i in range(100)]


class Weighted(torch.nn.Module):
    """Its gradient for an input x is x: the loss is the mean of the predictions."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


class Run:
    """SGD with learning rate 1 in steps of which each is seen."""

    def __init__(self, device: str, max_iterations: int | None, epoch_length: int, **options) -> None:
        self.network = Weighted().to(device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0)
        self.steps = 0
        self.optimizer.register_step_post_hook(lambda *_: setattr(self, "steps", self.steps + 1))
        self.ends: list[int] = []  # of epochs
        self.trainer = DiffusionTrainer(
            device=torch.device(device),
            max_epochs=options.pop("max_epochs", None) or -(-max_iterations // epoch_length),
            epoch_length=epoch_length,
            max_iterations=max_iterations,
            train_data_loader=self._loader(options.pop("sampler", None)),
            network=self.network,
            optimizer=self.optimizer,
            loss_function=lambda prediction, label: prediction.mean(),
            **options,
        )
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: self.ends.append(engine.state.iteration))

    @staticmethod
    def _loader(sampler: EndlessSampler | None) -> DataLoader:
        if sampler is None:
            return DataLoader(DATA, batch_size=1)
        return DataLoader(SeededDataset(DATA, Compose([]), seed=3), batch_size=2, sampler=sampler)


@pytest.mark.parametrize(
    ("max_iterations", "epoch_length", "ends"),
    [(5, 2, [2, 4, 5]), (4, 2, [2, 4]), (3, 10, [3]), (1, 1, [1]), (7, 3, [3, 6, 7])],
)
def test_the_last_epoch_is_cut_short_and_completed(device, max_iterations, epoch_length, ends):
    run = Run(device, max_iterations, epoch_length)
    run.trainer.run()
    assert run.trainer.state.iteration == run.steps == max_iterations
    assert run.ends == ends


def test_without_max_iterations_all_epochs_are_run(device):
    run = Run(device, None, 3, max_epochs=2)
    run.trainer.run()
    assert run.ends == [3, 6]


def test_a_finished_run_stands_still_and_one_that_is_prolonged_goes_on_within_its_epoch(device, tmp_path):
    run = Run(device, 5, 4)
    run.trainer.run()
    run.trainer.run()
    assert run.steps == 5
    torch.save({"network": run.network.state_dict(), "trainer": run.trainer.state_dict()}, tmp_path / "checkpoint_5.pt")
    for max_iterations, ends in ((5, []), (3, []), (10, [8, 10])):
        again = Run(device, max_iterations, 4)
        assert resume_training(tmp_path, {"network": again.network}, again.trainer) == 5
        run_to_end(again.trainer)
        assert again.ends == ends
        assert again.trainer.state.iteration == max(5, max_iterations)


@pytest.mark.parametrize("max_iterations", [0, -1])
def test_a_length_below_1_is_refused(device, max_iterations):
    with pytest.raises(ValueError, match=f"max_iterations must be at least 1, got {max_iterations}"):
        Run(device, max_iterations, 2, max_epochs=1)


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize(("max_iterations", "epoch_length"), [(9, 7), (8, 7), (7, 7), (6, 2), (5, 100)])
def test_no_accumulated_gradient_is_lost_or_used_twice(device, max_iterations, epoch_length, precision):
    """The weights are minus the mean of what an accumulation adds up, whose last part may be shorter."""
    run = Run(
        device,
        max_iterations,
        epoch_length,
        accumulation_steps=3,
        precision=precision,
        train_handlers=[GradientClippingHandler(1e9)],
    )
    if precision == "float16":  # a scale at which no step is left out
        run.trainer.scaler = torch.amp.GradScaler(device, init_scale=4)
    seen = []
    run.trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: seen.append((optimizer_steps(engine), optimizer_steps_done(engine), run.steps)),
    )
    run.trainer.run()
    total = torch.tensor([sum(range(max_iterations)), max_iterations]).float()
    torch.testing.assert_close(run.network.weight.detach().cpu(), -total / 3)
    steps = 0
    for now, done, counted in seen:
        steps += now
        assert counted == steps  # optimizer_steps tells when the optimiser has stepped
        assert done == steps + (not now)


def test_the_average_and_its_warm_up_count_steps_of_the_optimiser(device):
    network_def = Weighted()
    ema = ForeachEMAHandler(network_def.to(device), momentum=0.01)
    weights, momenta = [], []
    trainer = DiffusionTrainer(
        device=torch.device(device),
        max_epochs=2,
        epoch_length=5,
        max_iterations=9,
        train_data_loader=DataLoader(DATA, batch_size=1),
        network=network_def,
        optimizer=torch.optim.SGD(network_def.parameters(), lr=1.0),
        loss_function=lambda prediction, label: prediction.mean(),
        accumulation_steps=2,
        train_handlers=[EMAWarmUp(0.99), ema],
    )

    def note(engine) -> None:
        if optimizer_steps(engine):
            weights.append(network_def.weight.detach().cpu().clone())
            momenta.append(engine.state.ema_momentum)

    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.run()
    assert momenta == pytest.approx([9 / (10 + k) for k in range(1, 6)])  # 3 steps of 5 iterations, 2 of 4
    average = torch.zeros(2)
    for weight, momentum in zip(weights, momenta, strict=True):
        average = (1 - momentum) * average + momentum * weight
    torch.testing.assert_close(ema.ema_model.weight.detach().cpu(), average)


def test_steps_of_a_trainer_without_accumulation_or_epochs_are_its_iterations():
    for length in (None, 4):
        engine = SimpleNamespace(state=SimpleNamespace(iteration=7, epoch_length=length))
        assert optimizer_steps(engine)
        assert optimizer_steps_done(engine) == 7


@pytest.mark.parametrize(
    ("max_iterations", "interval", "validated"), [(5, 2, [4, 5]), (4, 2, [4]), (6, 5, [6]), (3, 1, [2, 3])]
)
def test_validation_follows_the_last_iteration_too_and_never_twice(device, max_iterations, interval, validated):
    evaluator = SupervisedEvaluator(
        device=torch.device(device), val_data_loader=DataLoader(DATA[:1], batch_size=1), network=Weighted().to(device)
    )
    run = Run(device, max_iterations, 2, train_handlers=[RegularValidation(interval, evaluator)])
    seen = []
    evaluator.add_event_handler(Events.COMPLETED, lambda: seen.append(run.trainer.state.iteration))
    run.trainer.run()
    assert seen == validated


def scheduled(last: int) -> tuple[torch.optim.Optimizer, WarmupCosineSchedule]:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    return optimizer, WarmupCosineSchedule(optimizer, warmup_steps=2, t_total=last)


def test_a_prolonged_schedule_starts_where_the_longer_one_is():
    first, schedule = scheduled(4)
    for _ in range(4):
        first.step()
        schedule.step()
    assert first.param_groups[0]["lr"] == 0
    second, schedule = scheduled(8)
    second.load_state_dict(first.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_iteration(schedule, 4)
    assert second.param_groups[0]["lr"] == pytest.approx(0.5 * schedule.lr_lambda(4))
    second.step()
    schedule.step()
    assert second.param_groups[0]["lr"] == pytest.approx(0.5 * schedule.lr_lambda(5))


def test_the_learning_rate_of_a_resumed_run_is_the_one_asked_for():
    first = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    second = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.25)
    schedule = torch.optim.lr_scheduler.ConstantLR(second, factor=1.0)
    second.load_state_dict(first.state_dict())
    for iteration in (0, 3, 5, 6):
        set_iteration(schedule, iteration)
        assert second.param_groups[0]["lr"] == (0.5 if iteration == 0 else 0.25)


def test_a_trainer_that_is_run_again_takes_the_samples_that_follow(device):
    """As in rounds of federated learning."""
    sampler = EndlessSampler(len(DATA), seed=3)
    expected = [index for _, index in islice(sampler, 12)]
    run = Run(device, None, 2, max_epochs=1, sampler=sampler, train_handlers=[SamplesToCome(sampler, 2)])
    seen = []
    run.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.extend(int(sample["image"][0]) for sample in engine.state.batch)
    )
    for epochs in (1, 2, 3):
        run.trainer.state.max_epochs = epochs
        run.trainer.run()
    assert seen == expected
