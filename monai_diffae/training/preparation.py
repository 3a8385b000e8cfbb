# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.handlers import ProgressBar
from monai.engines import Trainer
from torch.optim.lr_scheduler import LRScheduler

from monai_diffae.training.checkpoints import RunCheckpoints
from monai_diffae.training.resume import resume_training, set_iteration

__all__ = ["prepare_training"]


def prepare_training(
    trainer: Trainer,
    state: Mapping[str, Any],
    checkpoint: RunCheckpoints,
    progress_bar: ProgressBar,
    resume: bool = True,
    lr_scheduler: LRScheduler | None = None,
) -> None:
    """What a trainer needs before it runs and its configuration cannot hand to it, in the order that matters.

    The checkpoints are attached, which hold the trainer itself; the last one is loaded; learning rates go on where it
    was. (Samples do by :class:`SamplesToCome`.)

    Args:
        trainer: not started yet.
        state: what a checkpoint holds beside the trainer, by name.
        checkpoint: writes checkpoints, and has the folder of earlier ones.
        progress_bar: shows the loss of each iteration.
        resume: whether to go on from the last checkpoint.
        lr_scheduler: a function of the iteration (see :func:`set_iteration`); ``None`` for a constant learning rate.

    Raises:
        ValueError: if a checkpoint cannot be used, see :func:`resume_training`.
    """
    checkpoint.attach(trainer)
    progress_bar.attach(trainer, output_transform=_loss)
    iteration = resume_training(checkpoint.dirname, state, trainer) if resume else 0
    if lr_scheduler is not None:
        set_iteration(lr_scheduler, iteration)


def _loss(output: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {"loss": output[0]["loss"]}
