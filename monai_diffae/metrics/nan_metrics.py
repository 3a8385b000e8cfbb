# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import math

import torch
from ignite.engine import Engine, Events

__all__ = ["NaNMetrics"]

logger = logging.getLogger(__name__)


class NaNMetrics:
    """A metric that is NaN for some images is NaN, with a warning of how many.

    MONAI's metrics leave such images out of the mean, and of nothing they make 0: a perfect loss. Place this handler
    before those that write the metrics.
    """

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator of MONAI, whose metrics keep their values of every image (``save_details``).
        """
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        for name, values in engine.state.metric_details.items():
            if name not in engine.state.metrics or not isinstance(values, torch.Tensor):
                continue
            of_images = torch.isnan(values).flatten(1).any(dim=1) if values.ndim > 1 else torch.isnan(values)
            if count := int(of_images.sum()):
                engine.state.metrics[name] = math.nan
                logger.warning(f"{name} is not a number for {count} of {of_images.numel()} images.")
