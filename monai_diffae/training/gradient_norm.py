# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents

from monai_diffae.training.optimizer_steps import optimizer_steps

__all__ = ["GradientNormRecorder"]


class GradientNormRecorder:
    """The norm of a module's gradient, averaged over the steps of an epoch, as a metric of the trainer.

    It is taken at iterations in which the optimiser steps. Place this handler before a
    :class:`GradientClippingHandler`, so that the norm is the one before clipping, and before the handlers that write
    the trainer's metrics at the end of an epoch. The sum stays on the module's device until then: no iteration waits
    for the GPU.

    Args:
        module: part of the trainer's network, e.g. the encoder.
        name: of the metric in ``trainer.state.metrics``.
    """

    def __init__(self, module: torch.nn.Module, name: str = "encoder_grad_norm") -> None:
        self.module = module
        self.name = name
        self._reset()

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: a MONAI ``SupervisedTrainer``, or a :class:`~monai_diffae.training.DiffusionAdversarialTrainer`.
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _reset(self) -> None:
        self._sum: torch.Tensor | float = 0.0
        self._steps: torch.Tensor | int = 0

    def _collect(self, engine: Engine) -> None:
        if not optimizer_steps(engine):
            return
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if engine.scaler is not None:
            norm = norm / engine.scaler.get_scale()
        counts = torch.isfinite(norm)  # scaled gradients that overflow are not used
        self._sum, self._steps = self._sum + torch.where(counts, norm, 0), self._steps + counts

    def _write(self, engine: Engine) -> None:
        engine.state.metrics[self.name] = float(self._sum) / int(self._steps) if self._steps else math.nan
