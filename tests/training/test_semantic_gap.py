# SPDX-License-Identifier: Apache-2.0
"""Whether the decoder uses z_sem: the measure in a real validation, and the warning."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import ignite
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import IgniteMetricHandler, ValidationHandler, from_engine
from monai.transforms import Compose, FlattenSubKeysd

from monai_diffae.data import EndlessSampler, RandDiffusionNoised, SeededDataset
from monai_diffae.inferers import DiffusionAutoencoderInferer, SemanticGapInferer
from monai_diffae.networks import DiffusionAutoencoder
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.training import (
    GradientNormRecorder,
    SampledDiffusionPrepareBatch,
    SemanticGap,
    SemanticGapWarning,
    TrainingLogSaver,
)

SCHEDULER = InvertibleDDIMScheduler(prediction_type="v_prediction")


class Deaf(torch.nn.Module):
    """A decoder that does not hear z_sem."""

    def __init__(self, decoder: torch.nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return self.decoder(x, timesteps, torch.zeros_like(context))


def black_and_white(count: int) -> list[dict[str, torch.Tensor]]:
    """First all the black images, then all the white ones."""
    return [{"image": torch.full((1, 8, 8), -1.0 if 2 * i < count else 1.0)} for i in range(count)]


def gap_evaluator(network, device, data, batch_size: int) -> SupervisedEvaluator:
    dataset = SeededDataset(data, Compose([RandDiffusionNoised("image", 1000)]), seed=5)
    loss = torch.nn.MSELoss()
    return SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(dataset, batch_size=batch_size),
        network=network,
        inferer=SemanticGapInferer(SCHEDULER),
        prepare_batch=SampledDiffusionPrepareBatch(SCHEDULER),
        postprocessing=FlattenSubKeysd("pred"),
        key_val_metric={
            "loss": IgniteMetricHandler(loss_fn=loss, output_transform=from_engine(["prediction", "label"]))
        },
        additional_metrics={
            "semantic_gap": SemanticGap(loss, from_engine(["shuffled_prediction", "prediction", "label"]))
        },
    )


def train(network, device, folder: Path, iterations: int, patience: int) -> SupervisedEvaluator:
    """Two epochs of training on black and white images, validated after each."""
    dataset = SeededDataset(black_and_white(8), Compose([RandDiffusionNoised("image", 1000)]), seed=3)
    evaluator = gap_evaluator(network, device, black_and_white(8), batch_size=8)
    trainer = SupervisedTrainer(
        device=torch.device(device),
        max_epochs=2,
        epoch_length=iterations // 2,
        train_data_loader=DataLoader(dataset, batch_size=8, sampler=EndlessSampler(8, seed=3)),
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=3e-3),
        loss_function=torch.nn.MSELoss(),
        inferer=DiffusionAutoencoderInferer(SCHEDULER),
        prepare_batch=SampledDiffusionPrepareBatch(SCHEDULER),
        train_handlers=[
            GradientNormRecorder(network.encoder),
            ValidationHandler(interval=1, validator=evaluator),
            SemanticGapWarning(evaluator, threshold=1.02, patience=patience),
            TrainingLogSaver(folder / "log.csv", batch_size=8, evaluators={"val_noise": evaluator}),
        ],
    )
    trainer.run()
    return evaluator


def read_rows(file: Path) -> list[dict]:
    with open(file, newline="") as f:
        return list(csv.DictReader(f))


def test_a_decoder_that_ignores_z_sem_has_gap_1_and_one_warning(tiny_autoencoder, device, tmp_path, caplog):
    network = DiffusionAutoencoder(tiny_autoencoder.encoder, Deaf(tiny_autoencoder.decoder))
    evaluator = train(network, device, tmp_path, iterations=4, patience=2)
    assert evaluator.state.metrics["semantic_gap"] == 1.0
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING and "monai_diffae" in r.name]
    assert "The encoder does not seem to learn: after 2 iterations" in warning.getMessage()
    for what in ("encoder_grad_norm", "[-1, 1]", "learning_rate", "ema_decay", "z_dim", "conditioning", "batches"):
        assert what in warning.getMessage()
    rows = read_rows(tmp_path / "log.csv")
    assert [float(row["val_noise_semantic_gap"]) for row in rows] == [1.0, 1.0]
    assert [float(row["encoder_grad_norm"]) for row in rows] == [0.0, 0.0]


def test_a_decoder_that_learns_from_z_sem_has_a_gap_over_1_and_no_warning(tiny_autoencoder, device, tmp_path, caplog):
    evaluator = train(tiny_autoencoder, device, tmp_path, iterations=60, patience=30)
    assert evaluator.state.metrics["semantic_gap"] > 1.5
    assert not [r for r in caplog.records if "monai_diffae" in r.name]
    rows = read_rows(tmp_path / "log.csv")
    assert float(rows[1]["val_noise_semantic_gap"]) == pytest.approx(evaluator.state.metrics["semantic_gap"], rel=1e-4)
    assert all(float(row["encoder_grad_norm"]) > 0 for row in rows)


def test_the_gap_is_the_ratio_of_the_two_losses_and_the_key_metric_the_right_one(tiny_autoencoder, device):
    evaluator = gap_evaluator(tiny_autoencoder, device, black_and_white(4), batch_size=4)
    evaluator.run()
    images, noise, timesteps = (
        torch.stack([evaluator.data_loader.dataset[i][key] for i in range(4)]).to(device)
        for key in ("image", "noise", "timesteps")
    )
    noised = SCHEDULER.add_noise(images, noise, timesteps)
    target = SCHEDULER.get_velocity(images, noise, timesteps)
    with torch.no_grad():
        z_sem = tiny_autoencoder.encode(images)
        right, wrong = (
            torch.mean((tiny_autoencoder(noised, timesteps, context=z) - target) ** 2).item()
            for z in (z_sem, z_sem[[2, 3, 0, 1]])
        )
    assert evaluator.state.metrics["loss"] == pytest.approx(right, rel=1e-5)
    assert evaluator.state.metrics["semantic_gap"] == pytest.approx(wrong / right, rel=1e-5)
    assert abs(wrong / right - 1) > 1e-4


def test_every_image_gets_the_z_sem_of_another_one_the_same_at_every_run(device):
    def network(x, timesteps, image):
        return image.clone()

    inferer = SemanticGapInferer(SCHEDULER)
    for count in (2, 3, 5, 8):
        images = torch.arange(count, device=device).float().reshape(-1, 1, 1, 1)
        timesteps = torch.zeros(count, dtype=torch.long, device=device)
        outputs = [inferer(images, network, torch.zeros_like(images), timesteps) for _ in range(2)]
        assert torch.equal(outputs[0]["prediction"], images)
        shuffled = outputs[0]["shuffled_prediction"]
        assert torch.all(shuffled != images)
        assert torch.equal(shuffled.flatten().sort().values, images.flatten())
        assert torch.equal(shuffled, outputs[1]["shuffled_prediction"])


def test_a_batch_of_one_image_is_left_out_of_the_gap(tiny_autoencoder, device):
    gaps = []
    for count in (4, 5):  # the fifth is a batch of its own
        evaluator = gap_evaluator(tiny_autoencoder, device, black_and_white(4) + black_and_white(1)[: count - 4], 4)
        evaluator.run()
        gaps.append(evaluator.state.metrics["semantic_gap"])
    assert gaps[0] == gaps[1]
    alone = gap_evaluator(tiny_autoencoder, device, black_and_white(1), batch_size=4)
    alone.run()
    assert alone.state.metrics["semantic_gap"] != alone.state.metrics["semantic_gap"]  # NaN


def warnings_at(gaps: dict[int, float], caplog, **options) -> list[str]:
    """What is logged when validation at these epochs, of 100 iterations each, gives these gaps."""
    evaluator = Engine(lambda engine, batch: None)
    trainer = Engine(lambda engine, batch: None)

    @trainer.on(ignite.engine.Events.EPOCH_COMPLETED)
    def validate(engine: Engine) -> None:
        if engine.state.epoch in gaps:
            evaluator.state.epoch = engine.state.epoch
            evaluator.state.metrics["semantic_gap"] = gaps[engine.state.epoch]

    SemanticGapWarning(evaluator, **options).attach(trainer)
    trainer.run(range(100), max_epochs=max(gaps) + 1)
    return [r.getMessage() for r in caplog.records if "monai_diffae" in r.name]


def test_no_warning_before_the_patience_is_over(caplog):
    assert warnings_at({1: 1.0, 2: 1.0, 3: 1.3}, caplog, patience=300) == []


def test_the_first_validation_after_the_patience_warns(caplog):
    (message,) = warnings_at({1: 1.0, 4: 1.01, 5: 1.0}, caplog, patience=300)
    assert "after 400 iterations" in message
    assert "1.0100" in message


def test_a_gap_that_falls_back_to_1_warns(caplog):
    (message,) = warnings_at({3: 1.5, 6: 1.0}, caplog, patience=300)
    assert "after 600 iterations" in message


def test_the_threshold_decides(caplog):
    assert warnings_at({3: 1.2}, caplog, threshold=1.1, patience=0) == []
    assert len(warnings_at({3: 1.2}, caplog, threshold=1.3, patience=0)) == 1


def test_a_gap_that_could_not_be_measured_does_not_warn(caplog):
    assert warnings_at({3: float("nan")}, caplog, patience=0) == []


@pytest.mark.parametrize("options", [{"threshold": 0.9}, {"patience": -1}])
def test_thresholds_and_patience_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="Expected a threshold"):
        SemanticGapWarning(Engine(lambda engine, batch: None), **options)
