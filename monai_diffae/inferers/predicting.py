# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer

__all__ = ["PredictingInferer"]


class PredictingInferer(Inferer):
    """An inferer whose ``predict`` gives all that was computed on the way, and whose call gives one of these images, as
    MONAI's evaluators and windows want it."""

    called_for: str  # key of that image

    def predict(self, inputs: torch.Tensor, network: Callable, *others: Any, **named: Any) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: images in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.
            others: and ``named``, what else a subclass takes.

        Returns:
            By name, with the batch first; images have the metadata of ``inputs``.
        """
        raise NotImplementedError(f"{type(self).__name__} predicts nothing.")

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: Callable, *others: Any, **named: Any
    ) -> torch.Tensor:
        """The image of :meth:`predict` that this inferer is called for."""
        return self.predict(inputs, network, *others, **named)[self.called_for]
