# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import torch

from monai_diffae.inferers.aiming import aim
from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer
from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.metadata import like_input
from monai_diffae.inferers.predicting import PredictingInferer
from monai_diffae.inferers.stochastic_code import StochasticCode
from monai_diffae.semantics import AttributeDirections, lerp

__all__ = ["ExplanationInferer"]


class ExplanationInferer(PredictingInferer):
    """Counterfactuals of any classifier: z_sem is moved along what its output is as an attribute, until the classifier
    itself, run on the decoded image, changes its mind.

    The score of the reconstruction s becomes ``-sign(s) margin``, just past the boundary. How far to move for that only
    trying tells
    (:func:`~monai_diffae.inferers.aiming.aim`): the classifier need not be linear in z_sem.

    References:
        Atad et al., Counterfactual Explanations for Medical Image Classification and Regression using Diffusion
        Autoencoder, MELBA 2024:024, there by the linear model alone.

    Args:
        inferer: the loops, with their numbers of steps.
        attributes: the classifier's score as a continuous attribute of z_sem.
        attribute: its name there.
        score: the classifier, from images ``(B, C, *spatial)`` in about [-1, 1] to scores ``(B,)``: above 0 it says
            yes.
        num_steps: images on the way, the last of which is the counterfactual.
        max_aims: decodings at most that look for the length of each move.
        margin: the score on the other side that is aimed at; more of it changes more of the image.
        along: ``pattern`` or ``weight``, see :class:`~monai_diffae.semantics.AttributeDirections`.

    Raises:
        ValueError: for numbers out of range, or an attribute or ``along`` that is unknown.
    """

    called_for = "counterfactual"
    depends_on = ("inferer", "attributes", "attribute", "score", "num_steps", "max_aims", "margin", "along")

    def __init__(
        self,
        inferer: DiffusionAutoencoderInferer,
        attributes: AttributeDirections,
        attribute: str,
        score: Callable[[torch.Tensor], torch.Tensor],
        num_steps: int = 4,
        max_aims: int = 8,
        margin: float = 1.0,
        along: str = "pattern",
    ) -> None:
        if num_steps < 1 or max_aims < 1 or not margin > 0:
            raise ValueError(
                f"num_steps and max_aims must be 1 or more and margin above 0; got {num_steps}, {max_aims}, {margin}."
            )
        attributes.direction(attribute, along=along)  # for its errors
        self.inferer = inferer
        self.attributes, self.attribute = attributes, attribute
        self.score = score
        self.num_steps, self.max_aims, self.margin, self.along = num_steps, max_aims, margin, along

    @inference
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """Of images and a network as :class:`~monai_diffae.inferers.predicting.PredictingInferer` says.

        Returns:
            ``z_sem`` ``(B, D)``; ``reconstruction``, shape of ``inputs``; the classifier's own ``score`` of the image
            and ``score_reconstruction``, ``(B,)`` each; ``edit`` ``(B, N, C, *spatial)`` of N steps, the last
            of which is the ``counterfactual``, with the
            classifier's ``score_after`` ``(B, N)`` and ``distance`` ``(B, N)``, length of the move of the normalised
            code; ``flipped`` ``(B,)``, whether the last score and that of the reconstruction lie on two sides of 0.
        """
        images, z_sem, code, reconstruction = StochasticCode("encode").autoencoded(inputs, network, self.inferer)
        x_T = code.x_T
        start = self._score(reconstruction)
        # A score of exactly 0 says no, so that it goes up.
        target = torch.where(start > 0, -self.margin, self.margin)
        attributes = self.attributes
        statistics, at_hand = attributes.statistics, attributes.weight.device
        own, start, target = (x.to(at_hand) for x in (z_sem, start, target))
        direction = attributes.direction(self.attribute, along=self.along)
        slope = torch.dot(attributes.weight[attributes.index(self.attribute)], direction)
        end = statistics.denormalize(statistics.normalize(own) + ((target - start) / slope)[:, None] * direction)

        def score_at(factors: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            moved = lerp(own[rows], end[rows], factors[:, None]).to(images.device)
            return self._score(self.inferer.decode(moved, x_T[rows.to(images.device)], network)).to(at_hand)

        # Of a classifier that is very sure, 5 % of the way are more than the margin.
        tolerance = (0.5 * self.margin / (target - start).abs()).clamp(max=0.05)
        factors = aim(score_at, start, target, self.max_aims, tolerance)
        codes = [lerp(own, end, factors[:, None] * k / self.num_steps) for k in range(1, self.num_steps + 1)]
        edit = self.inferer.decode_series([(z.to(images.device), x_T) for z in codes], network)
        start = start.to(images.device)
        after = torch.stack([self._score(image) for image in edit.unbind(dim=1)], dim=1)
        distance = torch.stack([((z - own) / statistics.std).norm(dim=1) for z in codes], dim=1)
        return {
            "z_sem": z_sem,
            "reconstruction": like_input(reconstruction, inputs),
            "score": self._score(images),
            "score_reconstruction": start,
            "edit": like_input(edit, inputs),
            "score_after": after,
            "distance": distance.to(images.device),
            "counterfactual": like_input(edit[:, -1], inputs),
            "flipped": (after[:, -1] > 0) != (start > 0),
        }

    def _score(self, images: torch.Tensor) -> torch.Tensor:
        scores = self.score(images)
        if scores.shape != (len(images),):
            raise ValueError(f"The classifier must give {len(images)} scores, got shape {list(scores.shape)}.")
        return scores.float()
