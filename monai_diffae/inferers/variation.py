# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import torch

from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer
from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.metadata import like_input, plain
from monai_diffae.inferers.predicting import PredictingInferer
from monai_diffae.inferers.stochastic_code import StochasticCode

__all__ = ["VariationInferer"]


class VariationInferer(PredictingInferer):
    """One z_sem, many x_T: what an image's semantic code leaves open.

    Args:
        inferer: the loops; only decoding is used.
        num_variations: 1 or more. The k-th uses the k-th x_T of the seed, the same one for every image.
        seed: see :class:`~monai_diffae.inferers.stochastic_code.StochasticCode`.

    Raises:
        ValueError: for fewer than one variation.
    """

    called_for = "variations"
    depends_on = ("inferer", "num_variations", "stochastic_code")

    def __init__(self, inferer: DiffusionAutoencoderInferer, num_variations: int = 6, seed: int = 0) -> None:
        if num_variations < 1:
            raise ValueError(f"num_variations must be 1 or more, got {num_variations}.")
        self.inferer = inferer
        self.num_variations = num_variations
        self.stochastic_code = StochasticCode("random", seed)

    @inference
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """Of images and a network as :class:`PredictingInferer` says.

        Returns:
            ``z_sem`` ``(B, D)``; ``variations``, shape ``(B, num_variations, C, *spatial)``; ``variation_std``, their
            standard deviation, shape of ``inputs`` (zero for a single one).
        """
        images = plain(inputs)
        z_sem = self.inferer.encode(images, network)
        draws = self.stochastic_code.draw_all(images, range(self.num_variations), network)
        codes = [(z_sem, x_T) for x_T in draws.split(1)]
        variations = self.inferer.decode_series(codes, network)
        spread = variations.std(dim=1, correction=0)
        return {
            "z_sem": z_sem,
            "variations": like_input(variations, inputs),
            "variation_std": like_input(spread, inputs),
        }
