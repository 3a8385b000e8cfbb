# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ignite.engine import EventEnum, Events
from monai.engines import SupervisedTrainer
from monai.engines.workflow import Workflow

from monai_diffae.support.checked_numbers import count
from monai_diffae.support.precision import full_float32
from monai_diffae.support.randomness import derive_seed, seeded
from monai_diffae.training.gradient_scaling import GradientScaling
from monai_diffae.training.optimizer_steps import optimizer_steps

__all__ = ["DiffusionTrainer", "DiffusionTraining", "TrainingEvents"]

logger = logging.getLogger(__name__)
_TRAINING_STEP = 1  # tells these seeds from others that derive_seed makes of the same seed


class TrainingEvents(EventEnum):
    """Events of :class:`DiffusionTraining` beside those of ignite and MONAI."""

    FOUND_COMPLETE = "found_complete"
    """A run was asked for, and all its iterations had been done."""


class DiffusionTraining(GradientScaling):
    """For trainers of MONAI: a run of an exact length, whose iterations draw what they draw from (seed, iteration)."""

    max_iterations: int | None = None
    seed: int | None = None

    def set_up(self, precision: str, max_iterations: int | None, seed: int | None) -> None:
        """To be called once, after the trainer's own initialisation.

        Raises:
            ValueError: for an unknown precision, ``amp=True`` or a ``max_iterations`` below 1.
        """
        if max_iterations is not None and max_iterations < 1:
            raise ValueError(f"max_iterations must be at least 1, got {max_iterations}.")
        self.scale_gradients(precision)
        self.max_iterations, self.seed = max_iterations, seed
        self.add_event_handler(Events.ITERATION_COMPLETED, self._end_epoch_early)

    @property
    def is_complete(self) -> bool:
        """Whether all iterations are done."""
        epochs = self.state.epoch_length and self.state.epoch_length * self.state.max_epochs
        ends = [end for end in (epochs, self.max_iterations) if end is not None]
        return bool(ends) and self.state.iteration >= min(ends)

    def run(self) -> None:
        """Train up to the last iteration; nothing happens where it is done. MONAI's would replace the scaler."""
        if self.is_complete:
            logger.info(f"Training is complete at iteration {self.state.iteration}; raise max_iterations to go on.")
            self.fire_event(TrainingEvents.FOUND_COMPLETE)
            return
        with full_float32(self.state.device):
            Workflow.run(self)

    def _end_epoch_early(self) -> None:
        """The last epoch is as short as it has to be; what follows an epoch (validation, checkpoint) follows it too."""
        done = self.state.iteration
        if done == self.max_iterations and (self.state.epoch_length is None or done % self.state.epoch_length):
            self.set_data(())  # otherwise ignite would start the data loader anew
            self.terminate_epoch()

    def _iteration(self, engine: Any, batchdata: dict) -> dict | list[dict]:
        if self.seed is None:
            return super()._iteration(engine, batchdata)
        seed = derive_seed(self.seed, self.state.iteration, self.state.rank, _TRAINING_STEP)
        with seeded(seed, self.state.device):
            return super()._iteration(engine, batchdata)


class DiffusionTrainer(DiffusionTraining, SupervisedTrainer):
    """MONAI's ``SupervisedTrainer`` that runs the iterations asked for, can be resumed exactly, and trains in float16.

    Args:
        precision: that of the inferer: ``float32``, ``bfloat16`` or ``float16``; the last one's gradients are scaled.
        max_iterations: of the whole training, resumed or not: the epoch in which they end is cut short. By default
            ``max_epochs`` epochs.
        seed: of dropout and whatever else the networks draw from PyTorch's global generators: each iteration's draws
            are a function of (seed, iteration, process), so that a resumed run makes the same. By default they depend
            on what was drawn before.
        accumulation_steps: batches whose gradients make one step of the optimiser.
        others: those of ``SupervisedTrainer``.

    Raises:
        ValueError: for an unknown precision, ``amp=True``, or a ``max_iterations`` or ``accumulation_steps`` below 1.
    """

    def __init__(
        self,
        *args: Any,
        precision: str = "float32",
        max_iterations: int | None = None,
        seed: int | None = None,
        event_names: Sequence[Any] | None = None,
        accumulation_steps: int = 1,
        **kwargs: Any,
    ) -> None:
        kwargs["accumulation_steps"] = count(accumulation_steps=accumulation_steps)
        super().__init__(*args, event_names=[*(event_names or ()), TrainingEvents], **kwargs)
        self.set_up(precision, max_iterations, seed)

    def _iteration(self, engine: Any, batchdata: dict) -> dict | list[dict]:
        output = super()._iteration(engine, batchdata)
        if self._stops_within_an_accumulation():
            self._step()
        return output

    def _stops_within_an_accumulation(self) -> bool:
        """MONAI steps at the end of an epoch, but does not know of one that is cut short."""
        length, done = self.state.epoch_length, self.state.iteration
        done_of_epoch = (done - 1) % length + 1 if length else done
        return optimizer_steps(self) and done_of_epoch != length and done_of_epoch % self.accumulation_steps > 0

    def _step(self) -> None:
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad(set_to_none=self.optim_set_to_none)
