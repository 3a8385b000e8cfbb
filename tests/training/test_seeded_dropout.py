# SPDX-License-Identifier: Apache-2.0
"""What a network draws in training is a function of (seed, iteration, process)."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from torch.utils.data import DataLoader  # MONAI's sets the global generator back

from monai_diffae.networks.dropout import Dropout
from monai_diffae.training import DiffusionTrainer

DATA = [{"image": torch.ones(64), "label": 0} for _ in range(4)]


def kept(device: str, iterations: list[int], seed: int | None = 3, rank: int = 0, dropout=Dropout) -> torch.Tensor:
    """Which values a layer keeps in iterations that follow each other, shape (iterations, 64)."""
    layer = dropout(0.5)
    network = torch.nn.Sequential(torch.nn.Linear(64, 64), layer).to(device)
    seen = []
    layer.register_forward_hook(lambda _, __, output: seen.append((output != 0).flatten().cpu()))
    trainer = DiffusionTrainer(
        device=torch.device(device),
        max_epochs=1,
        epoch_length=10,
        max_iterations=iterations[-1],
        train_data_loader=DataLoader(DATA, batch_size=1),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.0),
        loss_function=lambda prediction, label: prediction.mean(),
        seed=seed,
    )
    trainer.state.rank = rank
    # What others draw, before and in between, does not matter.
    torch.rand(iterations[0])
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: torch.rand(iterations[0]))
    trainer.load_state_dict({"iteration": iterations[0] - 1, "epoch_length": 10, "max_epochs": 1})
    trainer.run()
    return torch.stack(seen)


@pytest.mark.parametrize("dropout", [Dropout, torch.nn.Dropout])
def test_an_iteration_drops_the_same_whenever_it_is_run(device, dropout):
    whole = kept(device, [1, 2, 3, 4, 5], dropout=dropout)
    torch.testing.assert_close(kept(device, [4, 5], dropout=dropout), whole[3:])
    assert len({tuple(row.tolist()) for row in whole}) == 5


def test_seed_and_process_decide(device):
    rows = [kept(device, [2], seed=seed, rank=rank) for seed, rank in ((3, 0), (4, 0), (3, 1))]
    assert len({tuple(row[0].tolist()) for row in rows}) == 3


def test_without_a_seed_draws_depend_on_those_before(device):
    assert not torch.equal(kept(device, [2], seed=None), kept(device, [2], seed=None))
