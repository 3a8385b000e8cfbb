# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from ignite.engine import Engine
from ignite.handlers import EMAHandler

__all__ = ["ForeachEMAHandler"]


class ForeachEMAHandler(EMAHandler):
    """Ignite's ``EMAHandler`` with one call for all parameters in place of three for each; the same numbers.

    Arguments and ``ema_model`` are those of ``EMAHandler``.
    """

    @torch.no_grad()
    def _update_ema_model(self, engine: Engine, name: str) -> None:
        momentum = getattr(engine.state, name)
        average, current = ([*model.parameters()] for model in (self.ema_model, self.model))
        torch._foreach_mul_(average, 1.0 - momentum)
        torch._foreach_add_(average, current, alpha=momentum)
        buffers, current_buffers = ([*model.buffers()] for model in (self.ema_model, self.model))
        if self.handle_buffers != "ema_train" and buffers:
            self._update_buffers(buffers, current_buffers, momentum)

    def _update_buffers(self, average: list[torch.Tensor], current: list[torch.Tensor], momentum: float) -> None:
        for mean, now in zip(average, current):
            if self.handle_buffers == "update" and mean.is_floating_point():
                mean.mul_(1.0 - momentum).add_(now, alpha=momentum)
            else:
                mean.copy_(now)
