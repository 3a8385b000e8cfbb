# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import logging

import torch

from monai_diffae.semantics.attributes import AttributeDirections

__all__ = ["fit_few_shot"]

logger = logging.getLogger(__name__)


def fit_few_shot(
    z_sem: torch.Tensor,
    labels: torch.Tensor,
    name: str,
    groups: torch.Tensor | None = None,
    regularization: float = 1.0,
) -> AttributeDirections:
    """A classifier of one class from few labels: positive and negative, or positive and unlabelled, or all of them.

    Unlabelled codes stand among the negative ones, as in the paper where there are no negative labels. Here they do so
    beside negative labels too: they show what the other codes are like, which few negative labels cannot. That some of
    them have the class is put right by :meth:`AttributeSummary.probability`, which their number in the summary tells.
    The classes are weighted to be balanced, whatever their numbers.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.4 (few-shot
        conditional generation).

    Args:
        z_sem: codes, shape ``(N, D)``.
        labels: shape ``(N,)``: 1, 0, or NaN for an unlabelled code.
        name: of the class, the only attribute of the result.
        groups: which codes belong together, see :meth:`AttributeDirections.fit`.
        regularization: inverse strength, scikit-learn's ``C``. Probabilities need a larger one than directions do.

    Raises:
        ValueError: for other labels, without a positive one, or with neither a negative nor an unlabelled one.
    """
    labels = labels.double().cpu()
    unlabelled, positive, negative = labels.isnan(), labels == 1, labels == 0
    if labels.shape != (len(z_sem),) or not bool((positive | negative | unlabelled).all()):
        raise ValueError(
            f"Expected {len(z_sem)} labels of 1, 0 or NaN (unlabelled) for {name!r}, got shape {list(labels.shape)} "
            f"with the values {labels.unique()[:10].tolist()}."
        )
    counts = f"{int(positive.sum())} positive, {int(negative.sum())} negative, {int(unlabelled.sum())} unlabelled"
    if not positive.any() or not (negative | unlabelled).any():
        raise ValueError(f"{name!r} needs positive labels, and negative ones or unlabelled images; got {counts}.")
    logger.info(f"{name}: fitted on {counts} codes; the unlabelled ones stand among the negative ones.")
    directions = AttributeDirections.fit(z_sem, {name: positive.double()}, groups, regularization=regularization)
    summary = directions.summary(name)
    directions.summaries[name] = dataclasses.replace(summary, num_unlabelled=int(unlabelled.sum()))
    return directions
