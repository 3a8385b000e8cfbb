# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import torch
from monai.engines import AdversarialTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import AdversarialIterationEvents, AdversarialKeys
from monai.utils.enums import CommonKeys as Keys

__all__ = ["DiffusionAdversarialTrainer"]


class DiffusionAdversarialTrainer(AdversarialTrainer):
    """MONAI's ``AdversarialTrainer``, in which handlers written for ``SupervisedTrainer`` find what they look for.

    - ``network``, ``optimizer`` and the event ``IterationEvents.BACKWARD_COMPLETED`` are those of the generator, so
      that its gradient can be clipped and measured. (MONAI fires no event between backward and step of the
      discriminator.)
    - The output has a ``loss``, all that the generator minimises, and is decollated like that of the other trainers.
    - Its state is the iteration alone. MONAI's includes networks and optimisers as objects, which a safe
      ``torch.load(..., weights_only=True)`` refuses: save their state dicts beside it.

    Arguments are those of ``AdversarialTrainer``.

    Raises:
        ValueError: for ``amp=True``, which works on CUDA only; use the inferer's ``precision`` instead.
    """

    accumulation_steps = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.amp:
            raise ValueError("amp must be False, got True; give the generator's inferer a precision instead.")
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
