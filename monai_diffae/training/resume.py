# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from ignite.handlers import Checkpoint
from monai.engines import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from monai_diffae.support.finite_weights import not_finite
from monai_diffae.support.weight_differences import weight_differences
from monai_diffae.training.checkpoints import find_checkpoints
from monai_diffae.training.diffusion_training import DiffusionTraining

__all__ = ["find_last_checkpoint", "resume_training", "run_to_end", "set_iteration"]

logger = logging.getLogger(__name__)


def find_last_checkpoint(checkpoint_dir: str | os.PathLike) -> Path | None:
    """The last ``checkpoint_<number>.pt`` of the run that wrote last into a folder, or None."""
    return next(iter(find_checkpoints(checkpoint_dir)), None)


def resume_training(checkpoint_dir: str | os.PathLike, to_load: Mapping[str, Any], trainer: Trainer) -> int:
    """Load the last checkpoint of the run that wrote last into a folder and set the trainer to its iteration.

    One that cannot be used (damaged, or with weights that are not finite) is named in the log, and the one before it is
    loaded. The trainer keeps its own number of epochs and epoch length, so that a finished run can be prolonged, and
    optimisers keep the settings of this run (``learning_rate``, say).

    Args:
        checkpoint_dir: folder of ``checkpoint_<number>.pt``; nothing happens where there is none.
        to_load: what the checkpoint holds beside ``trainer``, by name.
        trainer: not started yet; :attr:`~monai_diffae.training.gradient_scaling.GradientScaling.scalers` of one of ours
            are loaded, too.

    Returns:
        Iterations done so far.

    Raises:
        ValueError: if there are checkpoints and none can be used, or if one is of another network, optimiser or kind of
            training; nothing has changed then.
    """
    paths = find_checkpoints(checkpoint_dir)
    for path in paths:
        try:
            checkpoint = _read(path)
        except ValueError as error:
            logger.warning(f"The checkpoint {os.fspath(path)!r} is left out: {error}.")
            continue
        return _load(checkpoint, path, to_load, trainer)
    if paths:
        raise ValueError(
            f"None of the checkpoints in {os.fspath(checkpoint_dir)!r} can be used: "
            f"{', '.join(path.name for path in paths)} (see the log). Put whole ones there, or start afresh, with "
            "another output_dir or resume=false."
        )
    return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file makes the reader raise
        raise ValueError(f"it cannot be read ({type(error).__name__})") from None
    try:
        iteration = checkpoint["trainer"]["iteration"]
    except (LookupError, TypeError):
        iteration = None
    if type(iteration) is not int or iteration < 1:
        raise ValueError("it is no checkpoint of a training")
    if wrong := not_finite(checkpoint):
        raise ValueError(wrong)
    return checkpoint


def _load(checkpoint: dict[str, Any], path: Path, to_load: Mapping[str, Any], trainer: Trainer) -> int:
    iteration = checkpoint.pop("trainer")["iteration"]
    afresh = "or start afresh, with another output_dir or resume=false."
    if missing := [name for name in to_load if name not in checkpoint]:
        raise ValueError(
            f"The checkpoint {os.fspath(path)!r} is of another kind of training, without {' and '.join(missing)}: give "
            f"the configurations that it was made with, {afresh}"
        )
    for name in [name for name, part in to_load.items() if isinstance(part, nn.Module)]:
        if differences := weight_differences(checkpoint[name], to_load[name].state_dict()):
            raise ValueError(f"The checkpoint {os.fspath(path)!r} is of another network: {differences}; {afresh}")
    optimizers = {name: part for name, part in to_load.items() if isinstance(part, Optimizer)}
    for name, optimizer in optimizers.items():
        if _of_another_kind(checkpoint[name], optimizer):
            raise ValueError(
                f"The checkpoint {os.fspath(path)!r} is of another optimizer than {type(optimizer).__name__}: set "
                f"optimizer to the one of that run; {afresh}"
            )
    # A scaler is only there if the run that is resumed was in float16 as well.
    scalers = {name: scaler for name, scaler in getattr(trainer, "scalers", {}).items() if name in checkpoint}
    settings = {name: _settings(optimizer) for name, optimizer in optimizers.items()}
    Checkpoint.load_objects(dict(to_load) | scalers, checkpoint)
    for name, groups in settings.items():
        for group, setting in zip(optimizers[name].param_groups, groups, strict=True):
            group.update(setting)
    max_epochs = trainer.state.max_epochs  # ignite would refuse fewer than are done
    progress = {"iteration": iteration, "epoch_length": trainer.state.epoch_length, "max_epochs": None}
    trainer.load_state_dict(progress)
    trainer.state.max_epochs = max_epochs
    logger.info(f"Resumed from {path} at iteration {iteration}.")
    return iteration


def _of_another_kind(state: Mapping[str, Any], optimizer: Optimizer) -> bool:
    """Whether each has a setting that the other lacks; one side alone has some after an update of PyTorch."""
    saved, own = set(state["param_groups"][0]), set(optimizer.param_groups[0])
    return bool(saved - own - {"initial_lr"}) and bool(own - saved - {"initial_lr"})


def _settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Of the groups of parameters, without the learning rate where a schedule sets it."""
    kept = []
    for group in optimizer.param_groups:
        without = {"params", "lr"} if "initial_lr" in group else {"params"}
        kept.append({name: value for name, value in group.items() if name not in without})
    return kept


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
        # The steps of the optimiser that go before were those of the run before.
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
        lr_scheduler.step()
