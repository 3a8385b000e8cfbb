# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler

from monai_diffae.support.checked_numbers import count
from monai_diffae.training.diffusion_training import DiffusionTraining

__all__ = ["RegularValidation"]


class RegularValidation(ValidationHandler):
    """MONAI's ``ValidationHandler`` that also runs after the last iteration, however many epochs that makes.

    So the weights that are kept are validated, too.

    Args:
        interval: epochs between validations.
        args: and ``kwargs``, others of ``ValidationHandler``, with ``epoch_level=True``.

    Raises:
        ValueError: for an interval that is no whole number of 1 or more, by its name in bundles.
    """

    def __init__(self, interval: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(count(val_interval=interval), *args, **kwargs)

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: a :class:`~monai_diffae.training.DiffusionTrainer` or ``DiffusionAdversarialTrainer``.
        """
        super().attach(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self._is_left), self)

    def _is_left(self, engine: DiffusionTraining, epoch: int) -> bool:
        return engine.is_complete and epoch % self.interval > 0
