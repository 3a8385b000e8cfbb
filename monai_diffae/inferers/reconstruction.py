# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import torch

from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer
from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.metadata import like_input
from monai_diffae.inferers.predicting import PredictingInferer
from monai_diffae.inferers.stochastic_code import StochasticCode

__all__ = ["ReconstructionInferer"]


class ReconstructionInferer(PredictingInferer):
    """Encodes images and decodes them again; called ``(inputs, network)`` as MONAI's evaluators do.

    Args:
        inferer: the loops, with their numbers of steps.
        x_T: ``encode`` for the image's own x_T (near-exact), ``random`` or ``zeros`` for what z_sem alone tells.
        seed: of the random x_T, see :class:`StochasticCode`.
    """

    called_for = "reconstruction"
    depends_on = ("inferer", "stochastic_code")

    def __init__(self, inferer: DiffusionAutoencoderInferer, x_T: str = "encode", seed: int = 0) -> None:
        self.inferer = inferer
        self.stochastic_code = StochasticCode(x_T, seed)

    @inference
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """Of images and a network as :class:`PredictingInferer` says.

        Returns:
            ``z_sem`` ``(B, D)``; ``reconstruction``, shape and metadata of ``inputs``; and the report about x_T,
            :meth:`~monai_diffae.inferers.exact_inversion.Inversion.report`.
        """
        _, z_sem, code, reconstruction = self.stochastic_code.autoencoded(inputs, network, self.inferer)
        return {"z_sem": z_sem, "reconstruction": like_input(reconstruction, inputs)} | code.report()
