# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents

from monai_diffae.training.optimizer_steps import optimizer_steps

__all__ = ["GradientClippingHandler"]


class GradientClippingHandler:
    """Clips the norm of all gradients before the optimiser steps, which MONAI's trainers do not offer.

    Iterations that only accumulate gradients are left alone; scaled gradients are unscaled first. The norm before
    clipping is ``engine.state.gradient_norm``, a tensor.

    Args:
        max_norm: largest norm, over all parameters of the trainer's network; 1.0 in the paper.
    """

    def __init__(self, max_norm: float) -> None:
        if max_norm <= 0:
            raise ValueError(f"max_norm must be positive, got {max_norm}.")
        self.max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: a MONAI ``SupervisedTrainer``, or a :class:`~monai_diffae.training.DiffusionAdversarialTrainer`, of
                which the generator's gradients are clipped.
        """
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        if not optimizer_steps(engine):
            return
        if engine.scaler is not None:
            engine.scaler.unscale_(engine.optimizer)
        engine.state.gradient_norm = torch.nn.utils.clip_grad_norm_(engine.network.parameters(), self.max_norm)
