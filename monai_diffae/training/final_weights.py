# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path

import ignite.distributed as idist
import torch
import torch.nn as nn
from ignite.engine import Engine, Events

from monai_diffae.support.atomic_files import replacing
from monai_diffae.training.diffusion_training import DiffusionTraining, TrainingEvents

__all__ = ["BestWeightsSaver", "FinalWeightsSaver"]

logger = logging.getLogger(__name__)


class _WeightsSaver:
    def __init__(self, save_dir: str | os.PathLike, weights: Mapping[str, nn.Module]) -> None:
        self.save_dir = Path(save_dir)
        self.weights = weights

    def save(self) -> None:
        """Write all files."""
        self._write(self.weights)

    def _write(self, weights: Mapping[str, nn.Module]) -> None:
        if idist.get_rank() > 0:
            return
        for name, module in weights.items():
            with replacing(self.save_dir / name) as partial:
                torch.save(module.state_dict(), partial)
            logger.info(f"Wrote {self.save_dir / name}.")


class FinalWeightsSaver(_WeightsSaver):
    """Writes the weights to use when training has come to its end, and only then.

    MONAI's ``CheckpointSaver`` also writes them where an error ends a training, over those of an earlier one. They are
    there before the checkpoint that says that training is complete: if the process is killed in between, the same
    command ends the training again. A training that is found complete, without a file, writes it.

    Args:
        save_dir: the folder.
        weights: file name to module, whose state dict is written. A file is there when it is whole.
    """

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: a :class:`~monai_diffae.training.DiffusionTrainer` or ``DiffusionAdversarialTrainer``; before its
                checkpoints.
        """
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=_is_complete), self.save)
        engine.add_event_handler(Events.TERMINATE, self.save)  # of a handler that stops early
        engine.add_event_handler(TrainingEvents.FOUND_COMPLETE, self.save_missing)

    def save_missing(self) -> None:
        """Write the files that are not there."""
        self._write({name: module for name, module in self.weights.items() if not (self.save_dir / name).exists()})


class BestWeightsSaver(_WeightsSaver):
    """Writes the weights whenever an evaluator has its best key metric so far; its ``metric_cmp_fn`` says what that is.

    Args:
        save_dir: the folder.
        weights: file name to module, whose state dict is written. A file is there when it is whole.
    """

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the evaluator.
        """
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        state = engine.state
        if state.best_metric_epoch == state.epoch and not math.isnan(state.metrics[state.key_metric_name]):
            self.save()


def _is_complete(engine: DiffusionTraining, epoch: int) -> bool:
    return engine.is_complete
