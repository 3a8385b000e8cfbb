# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from ignite.handlers import Checkpoint
from monai.engines import Trainer
from torch.optim.lr_scheduler import LRScheduler

from monai_diffae.support.weight_differences import weight_differences
from monai_diffae.training.diffusion_training import DiffusionTraining

__all__ = ["find_last_checkpoint", "resume_training", "run_to_end", "set_iteration"]

logger = logging.getLogger(__name__)


def find_last_checkpoint(checkpoint_dir: str | os.PathLike) -> Path | None:
    """The newest of ``checkpoint_<number>.pt``, or None."""
    found = {}
    for path in Path(checkpoint_dir).glob("checkpoint_*.pt"):
        if match := re.fullmatch(r"checkpoint_(\d+)\.pt", path.name):
            found[int(match[1])] = path
    return found[max(found)] if found else None


def resume_training(checkpoint_dir: str | os.PathLike, to_load: Mapping[str, Any], trainer: Trainer) -> int:
    """Load the newest checkpoint that ignite's ``Checkpoint`` handler has written and set the trainer to its iteration.

    The trainer keeps its own number of epochs and epoch length, so that a finished run can be prolonged.

    Args:
        checkpoint_dir: folder of ``checkpoint_<number>.pt``; nothing happens where there is none.
        to_load: what the checkpoint holds beside ``trainer``, by name.
        trainer: not started yet; :attr:`~monai_diffae.training.gradient_scaling.GradientScaling.scalers` of one of ours
            are loaded, too.

    Returns:
        Iterations done so far.

    Raises:
        ValueError: if the checkpoint is of another network or optimiser; nothing has changed then.
    """
    path = find_last_checkpoint(checkpoint_dir)
    if path is None:
        return 0
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    iteration = checkpoint.pop("trainer")["iteration"]
    for name in [name for name, part in to_load.items() if isinstance(part, nn.Module) and name in checkpoint]:
        if differences := weight_differences(checkpoint[name], to_load[name].state_dict()):
            raise ValueError(
                f"The checkpoint {os.fspath(path)!r} is of another network: {differences}; or start afresh, with "
                "another output_dir or resume=false."
            )
    for name in [name for name, part in to_load.items() if isinstance(part, torch.optim.Optimizer)]:
        if name in checkpoint and _of_another_kind(checkpoint[name], to_load[name]):
            raise ValueError(
                f"The checkpoint {os.fspath(path)!r} is of another optimizer than {type(to_load[name]).__name__}: set "
                "optimizer to the one of that run; or start afresh, with another output_dir or resume=false."
            )
    # A scaler is only there if the run that is resumed was in float16 as well.
    scalers = {name: scaler for name, scaler in getattr(trainer, "scalers", {}).items() if name in checkpoint}
    Checkpoint.load_objects(dict(to_load) | scalers, checkpoint)
    progress = {
        "iteration": iteration,
        "epoch_length": trainer.state.epoch_length,
        "max_epochs": trainer.state.max_epochs,
    }
    trainer.load_state_dict(progress)
    logger.info(f"Resumed from {path} at iteration {iteration}.")
    return iteration


def _of_another_kind(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> bool:
    """Whether each has a setting that the other lacks; one side alone has some after an update of PyTorch."""
    saved, own = set(state["param_groups"][0]), set(optimizer.param_groups[0])
    return bool(saved - own - {"initial_lr"}) and bool(own - saved - {"initial_lr"})


def run_to_end(trainer: Trainer) -> None:
    """Run a trainer unless it was resumed at its end, where ignite would start again from iteration 0."""
    if not isinstance(trainer, DiffusionTraining) and trainer.state.epoch >= trainer.state.max_epochs:
        logger.info(f"Training is complete at iteration {trainer.state.iteration}; raise max_iterations to go on.")
        return
    trainer.run()


def set_iteration(lr_scheduler: LRScheduler, iteration: int) -> None:
    """Set the learning rates to those of an iteration, as this run's configuration has them.

    For schedules that are functions of the iteration (``LambdaLR``, MONAI's ``WarmupCosineSchedule``) or constant. A
    resumed optimiser has the learning rate of the run before, whose end, and with it the schedule, may have been
    another one.

    Args:
        lr_scheduler: of an optimiser whose state is loaded.
        iteration: done so far.
    """
    if iteration == 0:
        return
    for group, lr in zip(lr_scheduler.optimizer.param_groups, lr_scheduler.base_lrs, strict=True):
        group["lr"] = group["initial_lr"] = lr
    lr_scheduler.last_epoch = iteration - 1
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Detected call of `lr_scheduler.step", UserWarning
        )  # the optimiser's were before
        lr_scheduler.step()
