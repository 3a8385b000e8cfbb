# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import torch
from monai.engines import AdversarialTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import AdversarialIterationEvents, AdversarialKeys
from monai.utils.enums import CommonKeys as Keys

from monai_diffae.training.gradient_scaling import GradientScaling

__all__ = ["DiffusionAdversarialTrainer"]


class DiffusionAdversarialTrainer(GradientScaling, AdversarialTrainer):
    """MONAI's ``AdversarialTrainer``, in which handlers written for ``SupervisedTrainer`` find what they look for.

    - ``network``, ``optimizer`` and the event ``IterationEvents.BACKWARD_COMPLETED`` are those of the generator, so
      that its gradient can be clipped and measured. (MONAI fires no event between backward and step of the
      discriminator.)
    - The output has a ``loss``, all that the generator minimises, and is decollated like that of the other trainers.
    - Its state is the iteration alone. MONAI's includes networks and optimisers as objects, which a safe
      ``torch.load(..., weights_only=True)`` refuses: save their state dicts beside it.

    Args:
        precision: that of the generator's inferer; with ``float16`` the generator's gradients are scaled. The
            discriminator is trained in float32.
        others: those of ``AdversarialTrainer``.

    Raises:
        ValueError: for an unknown precision, and for ``amp=True``.
    """

    accumulation_steps = 1

    def __init__(self, *args: Any, precision: str = "float32", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scale_gradients(precision)
        self.state.g_scaler = self.scaler
        self.state.d_scaler = torch.amp.GradScaler(enabled=False)
        self.state_dict_user_keys.clear()
        self.add_event_handler(
            AdversarialIterationEvents.GENERATOR_BACKWARD_COMPLETED,
            lambda engine: engine.fire_event(IterationEvents.BACKWARD_COMPLETED),
        )

    @property
    def network(self) -> torch.nn.Module:
        """The generator."""
        return self.state.g_network

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The generator's."""
        return self.state.g_optimizer

    def _iteration(self, engine: AdversarialTrainer, batchdata: dict[str, torch.Tensor]) -> dict | list[dict]:
        output = super()._iteration(engine, batchdata)
        output[Keys.LOSS] = output[AdversarialKeys.RECONSTRUCTION_LOSS] + output[AdversarialKeys.GENERATOR_LOSS]
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output
