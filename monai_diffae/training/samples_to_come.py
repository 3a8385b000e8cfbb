# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events

__all__ = ["SamplesToCome"]


class SamplesToCome:
    """Whenever a trainer is run, it takes the samples behind those of the iterations that are done.

    After a checkpoint, and in each round of federated learning, where one trainer is run again and again.

    Args:
        samples: what has a ``start``: an :class:`~monai_diffae.data.EndlessSampler` or a
            :class:`~monai_diffae.training.LatentBatches`.
        batch_size: samples an iteration, of all processes together.
    """

    def __init__(self, samples: Any, batch_size: int) -> None:
        self.samples = samples
        self.batch_size = batch_size

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the trainer.
        """
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        self.samples.start = engine.state.iteration * self.batch_size
