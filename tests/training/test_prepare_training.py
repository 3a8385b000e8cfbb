# SPDX-License-Identifier: Apache-2.0
"""A training that goes on starts with the samples and the learning rate of where it was."""

from pathlib import Path

import pytest
import torch
from ignite.handlers import ProgressBar
from monai.handlers import LrScheduleHandler
from monai.inferers import SimpleInferer
from monai.transforms import Compose

from monai_diffae.data import EndlessSampler, SeededDataset
from monai_diffae.training import DiffusionTrainer, RunCheckpoints, SamplesToCome, prepare_training

BATCH_SIZE = 2


class Run:
    """A line fitted to numbers, with a learning rate that falls to 0 over six iterations."""

    def __init__(self, folder: Path, max_iterations: int, resume: bool = True, constant: bool = False) -> None:
        torch.manual_seed(0)
        numbers = [{"image": torch.tensor([k / 8]), "label": torch.tensor([1.0])} for k in range(8)]
        numbers = SeededDataset(numbers, Compose([]), seed=0)
        self.sampler = EndlessSampler(len(numbers), seed=0)
        self.network = torch.nn.Linear(1, 1)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1)
        falling = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda iteration: 1 - iteration / 6)
        self.lr_scheduler = None if constant else falling
        handlers = [] if constant else [LrScheduleHandler(falling, print_lr=False, epoch_level=False)]
        self.trainer = DiffusionTrainer(
            device="cpu",
            max_epochs=max_iterations,
            epoch_length=1,
            train_data_loader=torch.utils.data.DataLoader(numbers, batch_size=BATCH_SIZE, sampler=self.sampler),
            network=self.network,
            optimizer=self.optimizer,
            loss_function=torch.nn.MSELoss(),
            inferer=SimpleInferer(),
            train_handlers=[*handlers, SamplesToCome(self.sampler, BATCH_SIZE)],
        )
        state = {"network": self.network, "optimizer": self.optimizer}
        checkpoint = RunCheckpoints({**state, "trainer": self.trainer}, folder / "checkpoints")
        self.progress_bar = ProgressBar(persist=True)
        prepare_training(self.trainer, state, checkpoint, self.progress_bar, resume, self.lr_scheduler)


@pytest.mark.parametrize("constant", [False, True])
def test_a_training_in_two_parts_is_one(tmp_path, constant):
    whole = Run(tmp_path / "whole", 4, constant=constant)
    whole.trainer.run()
    Run(tmp_path / "parts", 2, constant=constant).trainer.run()
    second = Run(tmp_path / "parts", 4, constant=constant)
    assert second.trainer.state.iteration == 2
    second.trainer.run()
    assert second.sampler.start == 2 * BATCH_SIZE
    assert second.optimizer.param_groups[0]["lr"] == whole.optimizer.param_groups[0]["lr"]
    assert torch.equal(second.network.weight, whole.network.weight)
    rate = 0.1 if constant else 0.1 * (1 - 4 / 6)
    assert whole.optimizer.param_groups[0]["lr"] == pytest.approx(rate)


def test_without_resume_it_starts_afresh(tmp_path):
    Run(tmp_path, 2).trainer.run()
    run = Run(tmp_path, 2, resume=False)
    assert run.trainer.state.iteration == 0
    assert run.optimizer.param_groups[0]["lr"] == 0.1


def test_checkpoints_are_written_and_the_bar_shows_the_loss(tmp_path, capsys):
    Run(tmp_path, 2).trainer.run()
    assert {path.name for path in (tmp_path / "checkpoints").glob("*.pt")} == {"checkpoint_1.pt", "checkpoint_2.pt"}
    assert "loss=" in capsys.readouterr().err
