# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from ignite.engine import Engine, Events

from monai_diffae.training.optimizer_steps import optimizer_steps_done

__all__ = ["EMAWarmUp"]


class EMAWarmUp:
    """Lets the moving average of ignite's ``EMAHandler`` follow the weights quickly at first.

    ``decay_k = min(decay, (1 + k) / (10 + k))`` at step k of the optimiser, so that a short run's average is not
    its initial weights. (``EMAHandler`` has a warm-up of its own, which starts again when a run is resumed.)

    Args:
        decay: of the average, in (0, 1); ``momentum`` of the ``EMAHandler`` is ``1 - decay``.
        name: of the handler's momentum in the trainer's state.

    Raises:
        ValueError: for a decay outside (0, 1).
    """

    def __init__(self, decay: float, name: str = "ema_momentum") -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must be in (0, 1), got {decay}.")
        self.decay = decay
        self.name = name

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the trainer that the ``EMAHandler`` is attached to.
        """
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        setattr(engine.state, self.name, max(1 - self.decay, 9 / (10 + optimizer_steps_done(engine))))
