# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.handlers import Checkpoint
from monai.engines import Trainer

__all__ = ["find_last_checkpoint", "resume_training", "run_to_end"]

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
        trainer: not started yet; :attr:`~monai_diffae.engines.gradient_scaling.GradientScaling.scalers` of one of ours
            are loaded, too.

    Returns:
        Iterations done so far.
    """
    path = find_last_checkpoint(checkpoint_dir)
    if path is None:
        return 0
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    iteration = checkpoint.pop("trainer")["iteration"]
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


def run_to_end(trainer: Trainer) -> None:
    """Run a trainer unless it was resumed at its end, where ignite would start again from iteration 0."""
    if trainer.state.epoch >= trainer.state.max_epochs:
        logger.info(f"Training is complete at iteration {trainer.state.iteration}; raise max_iterations to go on.")
        return
    trainer.run()
