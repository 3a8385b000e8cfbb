# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint a training goes on from, and what becomes of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader

from monai_diffae.training import (
    DiffusionTrainer,
    FinalWeightsSaver,
    RunCheckpoints,
    find_last_checkpoint,
    resume_training,
    run_to_end,
)

DATA = [{"image": torch.ones(2), "label": 0}]


class Run:
    """Each iteration adds ``step`` to the only weights."""

    def __init__(self, folder: Path, max_iterations: int, step: float = 1.0, resume: bool = True, **options) -> None:
        self.folder, self.checkpoints = folder, folder / "checkpoints"
        self.network = torch.nn.Linear(2, 1, bias=False)
        torch.nn.init.zeros_(self.network.weight)
        optimizer = torch.optim.SGD(self.network.parameters(), lr=step)
        self.state = {"network": self.network, "optimizer": optimizer}
        self.trainer = DiffusionTrainer(
            device=torch.device("cpu"),
            max_epochs=max_iterations,
            epoch_length=1,
            max_iterations=max_iterations,
            train_data_loader=DataLoader(DATA, batch_size=1),
            network=self.network,
            optimizer=optimizer,
            loss_function=lambda prediction, label: -prediction.mean(),
            train_handlers=[FinalWeightsSaver(folder / "models", {"model.pt": self.network})],
        )
        checkpoint = RunCheckpoints(
            self.state | {"trainer": self.trainer},
            self.checkpoints,
            n_saved=options.pop("n_saved", 2),
            others=[folder / "models" / "model.pt"],
            **options,
        )
        checkpoint.attach(self.trainer)
        self.start = resume_training(self.checkpoints, self.state, self.trainer) if resume else 0

    def go(self) -> Run:
        run_to_end(self.trainer)
        return self

    @property
    def weight(self) -> float:
        return float(self.network.weight.detach()[0, 0])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.pt"))


def weight_of(path: Path) -> float:
    state = torch.load(path, weights_only=True)
    return float(state.get("network", state)["weight"][0, 0])


def test_the_run_that_wrote_last_is_gone_on_with_and_the_one_before_it_is_set_aside(tmp_path, caplog):
    Run(tmp_path, 10).go()
    assert names(tmp_path / "checkpoints") == ["checkpoint_10.pt", "checkpoint_9.pt"]
    Run(tmp_path, 5, step=100.0, resume=False).go()
    assert names(tmp_path / "checkpoints") == ["checkpoint_4.pt", "checkpoint_5.pt"]
    aside = tmp_path / "earlier_runs" / "1"
    assert names(aside) == ["checkpoint_10.pt", "checkpoint_9.pt", "model.pt"]
    assert [weight_of(aside / name) for name in names(aside)] == [10, 9, 10]
    assert str(aside) in caplog.text
    assert "checkpoint_10.pt" in caplog.text
    assert weight_of(tmp_path / "models" / "model.pt") == 500
    third = Run(tmp_path, 7, step=100.0)
    assert third.start == 5
    assert third.go().weight == 700
    assert names(tmp_path / "checkpoints") == ["checkpoint_6.pt", "checkpoint_7.pt"]
    assert not (tmp_path / "earlier_runs" / "2").exists()


def test_a_run_that_dies_before_its_first_checkpoint_leaves_the_earlier_one_aside_once(tmp_path):
    Run(tmp_path, 3).go()
    for _ in range(2):
        dying = Run(tmp_path, 4, resume=False)
        dying.trainer.add_event_handler(Events.STARTED, _die)
        with pytest.raises(KeyboardInterrupt):
            dying.go()
    assert names(tmp_path / "earlier_runs" / "1") == ["checkpoint_2.pt", "checkpoint_3.pt", "model.pt"]
    assert not (tmp_path / "earlier_runs" / "2").exists()
    assert weight_of(tmp_path / "models" / "model.pt") == 3  # until there is something better
    assert Run(tmp_path, 4).start == 0


def _die() -> None:
    raise KeyboardInterrupt


def test_of_files_without_a_record_the_last_written_are_gone_on_with(tmp_path):
    """As versions before 0.2.0 have left them: two runs in one folder."""
    for place, (number, weight) in enumerate([(750, 1.0), (1000, 2.0), (250, 3.0), (500, 4.0)]):
        state = {"network": {"weight": torch.full((1, 2), weight)}, "trainer": {"iteration": number}}
        state["optimizer"] = torch.optim.SGD(torch.nn.Linear(2, 1, bias=False).parameters(), lr=1.0).state_dict()
        path = tmp_path / "checkpoints" / f"checkpoint_{number}.pt"
        path.parent.mkdir(exist_ok=True)
        torch.save(state, path)
        os.utime(path, ns=(place * 10**9, place * 10**9))
    run = Run(tmp_path, 501)
    assert run.start == 500
    assert run.go().weight == 5
    assert names(tmp_path / "checkpoints") == ["checkpoint_500.pt", "checkpoint_501.pt"]
    assert names(tmp_path / "earlier_runs" / "1") == ["checkpoint_1000.pt", "checkpoint_750.pt"]


def test_a_copied_folder_is_gone_on_with_whatever_the_times_of_its_files(tmp_path):
    Run(tmp_path, 3).go()
    for place, number in enumerate((3, 2)):
        os.utime(tmp_path / "checkpoints" / f"checkpoint_{number}.pt", ns=(place * 10**9, place * 10**9))
    assert find_last_checkpoint(tmp_path / "checkpoints").name == "checkpoint_3.pt"


def test_processes_one_after_the_other_keep_as_many_checkpoints_as_one(tmp_path):
    for last in (1, 2, 3, 5, 6):
        Run(tmp_path, last).go()
    assert names(tmp_path / "checkpoints") == ["checkpoint_5.pt", "checkpoint_6.pt"]
    assert not (tmp_path / "earlier_runs").exists()
    Run(tmp_path, 8, n_saved=3).go()
    assert names(tmp_path / "checkpoints") == [f"checkpoint_{k}.pt" for k in (6, 7, 8)]


def damage(path: Path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "foreign":
        torch.save({"state_dict": {}}, path)
    else:
        content = torch.load(path, weights_only=True)
        content["network"]["weight"][0, 0] = float(how)
        torch.save(content, path)


REASONS = {"cut": "cannot be read", "empty": "cannot be read", "foreign": "no checkpoint of a training"}
REASONS |= {"nan": "not finite (network.weight", "inf": "not finite (network.weight"}


@pytest.mark.parametrize("how", REASONS)
def test_a_checkpoint_that_cannot_be_used_is_named_and_the_one_before_it_is_used(tmp_path, caplog, how):
    Run(tmp_path, 6).go()
    path = tmp_path / "checkpoints" / "checkpoint_6.pt"
    damage(path, how)
    run = Run(tmp_path, 7)
    assert run.start == 5
    assert str(path) in caplog.text
    assert REASONS[how] in caplog.text
    assert run.go().weight == 7
    assert names(tmp_path / "checkpoints") == ["checkpoint_6.pt", "checkpoint_7.pt"]
    assert names(tmp_path / "earlier_runs" / "1") == ["checkpoint_6.pt"]  # the damaged one


def test_training_does_not_start_at_0_where_no_checkpoint_can_be_used(tmp_path):
    Run(tmp_path, 2).go()
    for path in (tmp_path / "checkpoints").glob("*.pt"):
        damage(path, "cut")
    with pytest.raises(ValueError, match=r"None of .* can be used: checkpoint_2.pt, checkpoint_1.pt .*resume=false"):
        Run(tmp_path, 3)
    assert Run(tmp_path, 3, resume=False).go().weight == 3


def test_another_kind_of_training_is_told_from_a_damaged_file(tmp_path):
    Run(tmp_path, 2).go()
    run = Run(tmp_path, 3, resume=False)
    with pytest.raises(ValueError, match="another kind of training, without discriminator"):
        resume_training(run.checkpoints, run.state | {"discriminator": torch.nn.Linear(1, 1)}, run.trainer)
    assert run.weight == 0


def test_a_run_may_be_asked_for_fewer_iterations_than_are_done(tmp_path):
    Run(tmp_path, 6).go()
    run = Run(tmp_path, 2).go()
    assert run.trainer.state.iteration == 6
    assert names(tmp_path / "checkpoints") == ["checkpoint_5.pt", "checkpoint_6.pt"]


def test_weights_are_written_at_the_end_only_and_again_where_they_are_missing(tmp_path):
    model = tmp_path / "models" / "model.pt"
    dying = Run(tmp_path, 4)
    dying.trainer.add_event_handler(Events.EPOCH_STARTED(once=3), _die)
    with pytest.raises(KeyboardInterrupt):
        dying.go()
    assert not model.exists()
    Run(tmp_path, 4).go()
    assert weight_of(model) == 4
    model.unlink()
    Run(tmp_path, 4).go()
    assert weight_of(model) == 4
    torch.save({"weight": torch.zeros(1, 2)}, model)
    Run(tmp_path, 4).go()  # complete: nothing is written over
    assert weight_of(model) == 0
    assert sorted(path.name for path in tmp_path.rglob("*.partial*")) == []


def test_weights_are_there_before_the_checkpoint_that_says_complete(tmp_path, monkeypatch):
    """Killed in between, the same command makes them again."""
    seen = {}
    run = Run(tmp_path, 2)
    save = torch.save

    def note(content, path) -> None:
        seen[Path(path).name.removeprefix(".partial.")] = (tmp_path / "models" / "model.pt").exists()
        save(content, path)

    monkeypatch.setattr(torch, "save", note)
    run.go()
    assert seen == {"checkpoint_1.pt": False, "model.pt": False, "checkpoint_2.pt": True}


def test_an_early_stop_writes_the_weights(tmp_path):
    run = Run(tmp_path, 9)
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), run.trainer.terminate)
    run.go()
    assert weight_of(tmp_path / "models" / "model.pt") == 2


def test_an_error_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    Run(tmp_path, 2).go()
    run = Run(tmp_path, 3)

    def fail(content, path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        run.go()
    assert weight_of(tmp_path / "models" / "model.pt") == 2
    assert sorted(path.name for path in tmp_path.rglob("*.partial*")) == []
