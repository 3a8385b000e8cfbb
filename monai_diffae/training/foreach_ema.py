# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from ignite.engine import CallableEventWithFilter, Engine, Events, EventsList
from ignite.handlers import EMAHandler

from monai_diffae.training.optimizer_steps import optimizer_steps

__all__ = ["ForeachEMAHandler"]


_STEPS = Events.ITERATION_COMPLETED(event_filter=lambda engine, _: optimizer_steps(engine))


class ForeachEMAHandler(EMAHandler):
    """Ignite's ``EMAHandler`` with one call for all parameters in place of three for each; the same numbers
    up to rounding, and frozen parameters to the bit.

    It averages the weights of the optimiser's steps: iterations that only accumulate gradients do not count. Arguments
    and ``ema_model`` are those of ``EMAHandler``.

    Raises:
        ValueError: for a momentum outside (0, 1).
    """

    def __init__(self, model: nn.Module, momentum: float = 0.0002, **kwargs: Any) -> None:
        if not 0 < momentum < 1:
            raise ValueError(
                "momentum of the moving average must lie in (0, 1), and so must its decay, 1 - momentum (in bundles: "
                f"ema_decay); got {momentum} and {1 - momentum}."
            )
        super().__init__(model, momentum, **kwargs)

    def attach(
        self,
        engine: Engine,
        name: str = "ema_momentum",
        warn_if_exists: bool = True,
        event: str | Events | CallableEventWithFilter | EventsList = _STEPS,
    ) -> None:
        """
        Args:
            engine: a trainer.
            name: of the momentum in the trainer's state.
            warn_if_exists: whether to warn of a momentum of that name.
            event: when the average is updated; by default the iterations in which the optimiser steps.
        """
        super().attach(engine, name, warn_if_exists, event)

    @torch.no_grad()
    def _update_ema_model(self, engine: Engine, name: str) -> None:
        momentum = getattr(engine.state, name)
        average, current = ([*model.parameters()] for model in (self.ema_model, self.model))
        torch._foreach_lerp_(average, current, momentum)  # exact where both are equal: frozen weights stay as they are
        buffers, current_buffers = ([*model.buffers()] for model in (self.ema_model, self.model))
        if self.handle_buffers != "ema_train" and buffers:
            self._update_buffers(buffers, current_buffers, momentum)

    def _update_buffers(self, average: list[torch.Tensor], current: list[torch.Tensor], momentum: float) -> None:
        for mean, now in zip(average, current):
            if self.handle_buffers == "update" and mean.is_floating_point():
                mean.lerp_(now, momentum)
            else:
                mean.copy_(now)
