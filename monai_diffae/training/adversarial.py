# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.engines import AdversarialTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import AdversarialIterationEvents, AdversarialKeys
from monai.utils.enums import CommonKeys as Keys

from monai_diffae.training.diffusion_training import DiffusionTraining, TrainingEvents

__all__ = ["DiffusionAdversarialTrainer"]


class DiffusionAdversarialTrainer(DiffusionTraining, AdversarialTrainer):
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
        max_iterations: and ``seed``, those of :class:`~monai_diffae.training.DiffusionTrainer`.
        accumulation_steps: 1; MONAI's trainer steps in every iteration.
        others: those of ``AdversarialTrainer``.

    Raises:
        ValueError: for an unknown precision, ``amp=True``, a ``max_iterations`` below 1 or another
            ``accumulation_steps``.
    """

    def __init__(
        self,
        *args: Any,
        precision: str = "float32",
        max_iterations: int | None = None,
        seed: int | None = None,
        accumulation_steps: int = 1,
        event_names: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if accumulation_steps != 1:
            raise ValueError(
                f"Adversarial training steps in every iteration: accumulation_steps must be 1, got "
                f"{accumulation_steps}; lower batch_size instead, or train without the adversarial loss."
            )
        super().__init__(*args, event_names=[*(event_names or ()), TrainingEvents], **kwargs)
        self.set_up(precision, max_iterations, seed)
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
