# SPDX-License-Identifier: Apache-2.0
"""Training in float16, which works on a CPU too (slowly), and is resumed exactly."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import ignite
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader

from monai_diffae.data import EndlessSampler, RandDiffusionNoised, SeededDataset
from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.training import (
    DiffusionTrainer,
    GradientClippingHandler,
    GradientNormRecorder,
    SampledDiffusionPrepareBatch,
    resume_training,
)

SCHEDULER = InvertibleDDIMScheduler(prediction_type="v_prediction")


class Run:
    """Four images of 8 x 8, two iterations an epoch."""

    def __init__(
        self, network, device: str, folder: Path, precision: str, max_epochs: int, accumulation_steps: int = 1
    ):
        self.network = copy.deepcopy(network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3, fused=True)
        data = [{"image": x} for x in torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))]
        dataset = SeededDataset(data, RandDiffusionNoised("image", 1000), seed=3)
        self.sampler = EndlessSampler(4, seed=3)
        self.trainer = DiffusionTrainer(
            device=torch.device(device),
            max_epochs=max_epochs,
            epoch_length=2,
            train_data_loader=DataLoader(dataset, batch_size=4, sampler=self.sampler),
            network=self.network,
            optimizer=self.optimizer,
            loss_function=torch.nn.MSELoss(),
            inferer=DiffusionAutoencoderInferer(SCHEDULER, precision=precision),
            prepare_batch=SampledDiffusionPrepareBatch(SCHEDULER),
            train_handlers=[GradientNormRecorder(self.network.encoder), GradientClippingHandler(1.0)],
            precision=precision,
            accumulation_steps=accumulation_steps,
        )
        self.losses: list[float] = []
        self.trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: self.losses.append(float(engine.state.output[0]["loss"]))
        )
        self.state = {"network": self.network, "optimizer": self.optimizer}
        checkpoint = ignite.handlers.Checkpoint(
            self.state | self.trainer.scalers | {"trainer": self.trainer},
            ignite.handlers.DiskSaver(str(folder), require_empty=False),
        )
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, checkpoint)
        self.sampler.start = 4 * resume_training(folder, self.state, self.trainer)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_trains_as_float32_does(tiny_autoencoder, device, tmp_path, precision):
    runs = [Run(tiny_autoencoder, device, tmp_path / p, p, 2) for p in ("float32", precision)]
    full, lower = runs
    if precision == "float16":  # a scale at which no step is left out
        lower.trainer.scaler = torch.amp.GradScaler(device, init_scale=256)
    for run in runs:
        run.trainer.run()
    assert lower.losses == pytest.approx(full.losses, rel=0.03)
    assert lower.losses != full.losses
    norms = [run.trainer.state.metrics["encoder_grad_norm"] for run in runs]
    assert norms[1] == pytest.approx(norms[0], rel=0.1)  # of gradients that are not scaled
    assert bool(lower.trainer.scalers) == (precision == "float16")


def test_gradients_that_overflow_are_left_out_and_the_scale_is_lowered(tiny_autoencoder, device, tmp_path):
    run = Run(tiny_autoencoder, device, tmp_path, "float16", 1)
    run.trainer.scaler = torch.amp.GradScaler(device, init_scale=2.0**40)
    run.trainer.run()
    for name, value in run.network.state_dict().items():
        assert torch.equal(value, tiny_autoencoder.state_dict()[name]), name
    assert run.trainer.scaler.get_scale() == 2.0**38  # two iterations, two halvings
    assert math.isnan(run.trainer.state.metrics["encoder_grad_norm"])  # no gradient was used


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_a_resumed_run_in_float16_is_the_uninterrupted_one(tiny_autoencoder, device, tmp_path, accumulation_steps):
    whole = Run(tiny_autoencoder, device, tmp_path / "whole", "float16", 2, accumulation_steps)
    whole.trainer.run()
    for max_epochs in (1, 2):
        parts = Run(tiny_autoencoder, device, tmp_path / "parts", "float16", max_epochs, accumulation_steps)
        parts.trainer.run()
    assert parts.losses == whole.losses[2:]
    assert parts.trainer.scaler.state_dict() == whole.trainer.scaler.state_dict()
    for name, value in parts.network.state_dict().items():
        assert torch.equal(value, whole.network.state_dict()[name]), name


def test_a_run_can_be_resumed_in_another_precision(tiny_autoencoder, device, tmp_path):
    for precision, max_epochs in (("bfloat16", 1), ("float16", 2), ("float32", 3)):
        run = Run(tiny_autoencoder, device, tmp_path, precision, max_epochs)
        run.trainer.run()
        assert run.trainer.state.iteration == 2 * max_epochs


def test_wrong_precision_and_amp_of_monai_are_refused(device):
    common = {"device": torch.device(device), "max_epochs": 1, "train_data_loader": [0]}
    common |= {"network": torch.nn.Identity(), "optimizer": None, "loss_function": None}
    with pytest.raises(ValueError, match="float16"):
        DiffusionTrainer(**common, precision="half")
    with pytest.raises(ValueError, match="precision instead"):
        DiffusionTrainer(**common, amp=True)
