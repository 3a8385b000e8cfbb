# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer

from monai_diffae.support.precision import check_precision, mixed_precision

__all__ = ["MixedPrecisionInferer"]


class MixedPrecisionInferer(Inferer):
    """Another inferer whose network runs under automatic mixed precision, on any device.

    For MONAI's ``DiffusionInferer`` in the training of the latent diffusion. (The autocast of MONAI's engines is for
    CUDA only.) Only the network's call has the precision, not what the inferer does around it.

    Args:
        inferer: called ``(inputs, network, ...)``.
        precision: ``float32``, ``bfloat16`` or ``float16``.

    Raises:
        ValueError: for another precision.
    """

    def __init__(self, inferer: Inferer, precision: str = "float32") -> None:
        self.inferer = inferer
        self.precision = check_precision(precision)

    def __call__(self, inputs: torch.Tensor, network: Callable, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The inferer's result; the network's output is handed to it in the type of ``inputs``."""
        return self.inferer(inputs, self.network(network, inputs), *args, **kwargs)

    def network(self, network: Callable, inputs: torch.Tensor) -> Callable:
        """``network`` as the inferer calls it."""

        def call(*args: Any, **kwargs: Any) -> torch.Tensor:
            with mixed_precision(self.precision, inputs.device):
                output = network(*args, **kwargs)
            return output.to(inputs.dtype)

        return call
