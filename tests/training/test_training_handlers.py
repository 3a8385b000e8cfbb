# SPDX-License-Identifier: Apache-2.0
"""Gradient clipping, resume and training log, in MONAI's own trainer."""

from __future__ import annotations

import copy
import csv
import math
import os
from itertools import islice
from pathlib import Path

import ignite
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import IgniteMetricHandler, ValidationHandler, from_engine
from monai.transforms import Compose, RandFlipd

from monai_diffae.data import EndlessSampler, RandDiffusionNoised, SeededDataset
from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.training import (
    GradientClippingHandler,
    SampledDiffusionPrepareBatch,
    TrainingLogSaver,
    find_last_checkpoint,
    resume_training,
    run_to_end,
)

STATES = ("network", "ema", "optimizer")


@pytest.fixture(autouse=True)
def _deterministic(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


class Run:
    """What bundles/brain_slices_diffae/configs/train.yaml sets up, at its smallest."""

    def __init__(self, network, device, output_dir: Path, max_epochs: int = 2, epoch_length: int = 2, handlers=()):
        scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
        self.network = copy.deepcopy(network)
        data = [{"image": image} for image in torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))]
        transform = Compose([RandFlipd("image", prob=0.5, spatial_axis=0), RandDiffusionNoised("image", 1000)])
        self.dataset = SeededDataset(data, transform, seed=3)
        self.sampler = EndlessSampler(len(data), seed=3)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        ema = ignite.handlers.EMAHandler(self.network, momentum=0.1)
        self.trainer = SupervisedTrainer(
            device=torch.device(device),
            max_epochs=max_epochs,
            epoch_length=epoch_length,
            train_data_loader=DataLoader(self.dataset, batch_size=2, sampler=self.sampler),
            network=self.network,
            optimizer=self.optimizer,
            loss_function=torch.nn.MSELoss(),
            inferer=DiffusionAutoencoderInferer(scheduler),
            prepare_batch=SampledDiffusionPrepareBatch(scheduler),
            train_handlers=[GradientClippingHandler(1.0), *handlers, ema],
        )
        self.losses: list[float] = []
        self.trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: self.losses.append(float(engine.state.output[0]["loss"]))
        )
        self.state = {"network": self.network, "ema": ema.ema_model, "optimizer": self.optimizer}
        self.folder = output_dir / "checkpoints"
        saver = ignite.handlers.DiskSaver(str(self.folder), require_empty=False)
        to_save = self.state | {"trainer": self.trainer}
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, ignite.handlers.Checkpoint(to_save, saver, n_saved=2))

    def go(self) -> int:
        start = resume_training(self.folder, self.state, self.trainer)
        self.sampler.start = 2 * start
        run_to_end(self.trainer)
        return start


def assert_equal_states(first: Run, second: Run) -> None:
    for name in STATES:
        torch.testing.assert_close(
            first.state[name].state_dict(), second.state[name].state_dict(), rtol=0, atol=0, msg=name
        )


@pytest.mark.parametrize("epoch_length_after", [2, 4])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_by_bit(tiny_autoencoder, device, tmp_path, epoch_length_after):
    straight = Run(tiny_autoencoder, device, tmp_path / "straight", max_epochs=2)
    assert straight.go() == 0
    first = Run(tiny_autoencoder, device, tmp_path / "resumed", max_epochs=1)
    first.go()
    torch.manual_seed(99)
    second = Run(
        tiny_autoencoder, device, tmp_path / "resumed", 4 // epoch_length_after, epoch_length=epoch_length_after
    )
    assert second.go() == 2
    assert second.trainer.state.iteration == 4
    assert first.losses + second.losses == straight.losses
    assert_equal_states(straight, second)
    assert not torch.equal(second.network.decoder.conv_in.weight, first.network.decoder.conv_in.weight)
    assert not torch.equal(second.network.decoder.conv_in.weight, second.state["ema"].decoder.conv_in.weight)


def test_a_finished_run_is_not_started_again_and_can_be_prolonged(tiny_autoencoder, device, tmp_path):
    done = Run(tiny_autoencoder, device, tmp_path)
    done.go()
    again = Run(tiny_autoencoder, device, tmp_path)
    assert again.go() == 4
    assert again.losses == []
    assert_equal_states(done, again)
    prolonged = Run(tiny_autoencoder, device, tmp_path, max_epochs=3)
    prolonged.go()
    assert len(prolonged.losses) == 2
    assert prolonged.trainer.state.iteration == 6


def test_without_a_checkpoint_training_starts_at_the_beginning(tiny_autoencoder, device, tmp_path):
    run = Run(tiny_autoencoder, device, tmp_path)
    before = copy.deepcopy(run.network.state_dict())
    assert resume_training(tmp_path / "nowhere", run.state, run.trainer) == 0
    assert run.trainer.state.iteration == 0
    torch.testing.assert_close(run.network.state_dict(), before, rtol=0, atol=0)


def test_the_checkpoint_that_was_written_last_is_found_and_other_files_are_not(tmp_path):
    assert find_last_checkpoint(tmp_path / "nowhere") is None
    assert find_last_checkpoint(tmp_path) is None
    for name in ("checkpoint_500.pt.partial", "checkpoint_900.tmp", "checkpoint_best.pt", "checkpoint_7_old.pt"):
        (tmp_path / name).touch()
    assert find_last_checkpoint(tmp_path) is None
    for place, number in enumerate((90, 250, 1000, 500)):
        (tmp_path / f"checkpoint_{number}.pt").touch()
        os.utime(tmp_path / f"checkpoint_{number}.pt", ns=(place, place))
    assert find_last_checkpoint(tmp_path) == tmp_path / "checkpoint_500.pt"


class Weighted(torch.nn.Module):
    """Its gradient for an input x is x: the loss is the mean of the predictions."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


def steps(inputs: list[list[float]], max_norm: float, device: str, scaler=None, **options) -> list[torch.Tensor]:
    """The weights after each iteration of SGD with learning rate 1."""
    network = Weighted().to(device)
    weights = []
    trainer = SupervisedTrainer(
        device=torch.device(device),
        max_epochs=1,
        train_data_loader=DataLoader([{"image": torch.tensor(x), "label": 0} for x in inputs], batch_size=1),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        loss_function=lambda prediction, label: prediction.mean(),
        train_handlers=[GradientClippingHandler(max_norm)],
        **options,
    )
    if scaler is not None:  # MONAI's own is made when the run starts, and works on CUDA only
        trainer.add_event_handler(Events.STARTED, lambda engine: setattr(engine, "scaler", scaler))
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: weights.append(network.weight.detach().cpu().clone())
    )
    trainer.run()
    return weights


def test_steps_are_as_long_as_the_gradients_and_at_most_max_norm(device):
    weights = steps([[3.0, 4.0], [0.3, -0.4], [-30.0, 40.0]], max_norm=1.0, device=device)
    expected = [torch.tensor(x) for x in ([-0.6, -0.8], [-0.9, -0.4], [-0.3, -1.2])]
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-5)


def test_accumulated_gradients_are_clipped_once_before_each_step(device):
    # Clipped at every iteration, the first step would point elsewhere; the last iteration is a step of its own.
    weights = steps([[30.0, 0.0], [0.0, 40.0], [0.0, 8.0]], max_norm=1.0, device=device, accumulation_steps=2)
    expected = [torch.tensor(x) for x in ([0.0, 0.0], [-0.6, -0.8], [-0.6, -1.8])]
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.GradScaler", "ignore:CUDA is not available")
@pytest.mark.parametrize("x", [[3.0, 4.0], [0.3, 0.4]], ids=["above", "below"])
def test_scaled_gradients_are_unscaled_before_they_are_clipped(device, x):
    scaler = torch.amp.GradScaler(torch.device(device).type, init_scale=1024.0)
    (weight,) = steps([x], max_norm=1.0, device=device, scaler=scaler, amp=True)
    clipped = -torch.tensor(x) / max(1.0, torch.tensor(x).norm().item())
    torch.testing.assert_close(weight, clipped, rtol=0, atol=1e-5)


@pytest.mark.parametrize("max_norm", [0.0, -1.0])
def test_a_norm_that_is_not_positive_is_refused(max_norm):
    with pytest.raises(ValueError, match="max_norm must be positive"):
        GradientClippingHandler(max_norm)


def read_rows(file: Path) -> list[dict]:
    with open(file, newline="") as f:
        return list(csv.DictReader(f))


def make_evaluator(network, device) -> SupervisedEvaluator:
    run = Run(network, device, Path("unused"))
    return SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader([run.dataset[(0, i)] for i in range(2)], batch_size=2),
        network=network,
        inferer=run.trainer.inferer,
        prepare_batch=run.trainer.prepare_batch,
        key_val_metric={
            "loss": IgniteMetricHandler(loss_fn=torch.nn.MSELoss(), output_transform=from_engine(["pred", "label"]))
        },
    )


def logged_run(network, device, folder: Path, max_epochs: int) -> Run:
    evaluator = make_evaluator(network, device)
    log = TrainingLogSaver(folder / "logs" / "log.csv", batch_size=2, evaluators={"val": evaluator})
    run = Run(network, device, folder, max_epochs, handlers=[ValidationHandler(interval=2, validator=evaluator), log])
    run.evaluator = evaluator
    return run


def test_the_log_has_a_row_an_epoch_and_metrics_where_validation_ran(tiny_autoencoder, device, tmp_path):
    run = logged_run(tiny_autoencoder, device, tmp_path, max_epochs=3)
    run.go()
    rows = read_rows(tmp_path / "logs" / "log.csv")
    assert list(rows[0]) == ["iteration", "images_seen", "hours", "train_loss", "val_loss"]
    assert [row["iteration"] for row in rows] == ["2", "4", "6"]
    assert [row["images_seen"] for row in rows] == ["4", "8", "12"]
    means = [math.fsum(run.losses[i : i + 2]) / 2 for i in (0, 2, 4)]
    assert [float(row["train_loss"]) for row in rows] == pytest.approx(means, abs=1e-6)
    assert rows[0]["val_loss"] == rows[2]["val_loss"] == ""
    assert float(rows[1]["val_loss"]) == pytest.approx(run.evaluator.state.metrics["loss"], abs=1e-5)
    hours = [float(row["hours"]) for row in rows]
    assert hours == sorted(hours)
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["log.csv"]


def test_the_log_of_a_resumed_run_goes_on_after_the_rows_that_hold(tiny_autoencoder, device, tmp_path):
    file = tmp_path / "logs" / "log.csv"
    logged_run(tiny_autoencoder, device, tmp_path, max_epochs=2).go()
    before = read_rows(file)
    before[-1]["hours"] = "7.5000"
    lost = before[-1] | {"iteration": "6", "images_seen": "12", "hours": "9.9000"}  # after the last checkpoint
    with open(file, "w", newline="") as f:
        table = csv.DictWriter(f, fieldnames=list(lost))
        table.writeheader()
        table.writerows([*before, lost])
    logged_run(tiny_autoencoder, device, tmp_path, max_epochs=4).go()
    rows = read_rows(file)
    assert [row["iteration"] for row in rows] == ["2", "4", "6", "8"]
    assert rows[:2] == before
    assert 7.5 <= float(rows[2]["hours"]) < 9
    assert [bool(row["val_loss"]) for row in rows] == [False, True, False, True]


def test_the_log_of_a_run_that_starts_anew_replaces_an_older_one(tiny_autoencoder, device, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "log.csv").write_text("iteration,hours\n2,50.0\n")
    logged_run(tiny_autoencoder, device, tmp_path, max_epochs=1).go()
    (row,) = read_rows(tmp_path / "logs" / "log.csv")
    assert row["iteration"] == "2"
    assert float(row["hours"]) < 1


def test_the_sampler_of_a_resumed_run_goes_on_within_an_epoch():
    sampler = EndlessSampler(5, seed=3)
    keys = list(islice(sampler, 8))
    sampler.start = 4
    assert list(islice(sampler, 4)) == keys[4:]
    assert keys[4][0] != keys[5][0]
