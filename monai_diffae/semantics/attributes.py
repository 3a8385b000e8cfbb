# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch

from monai_diffae.semantics.attribute_models import AttributeModels
from monai_diffae.semantics.class_means import step_to_class_mean
from monai_diffae.semantics.kept_scores import without_parts_along
from monai_diffae.support.words import names_in

__all__ = ["AttributeDirections"]


# Of the direction's effect on the score, that must be left without those of the kept attributes.
_LEAST_SHARE = {"weight": 1e-8, "pattern": 1e-6}


class AttributeDirections(AttributeModels):
    """Linear models of attributes on z_sem (the base class, with the arguments), and the edits that follow from them.

    All methods take and give raw z_sem; the normalisation is inside.

    An edit goes along the model's ``weight`` or along its ``pattern``. The weight is the shortest way to another score,
    and the paper's. The pattern, covariance of the codes times weight, is the way on which codes of a data set differ
    with the score: the likeliest way to another score if codes are Gaussian (of least Mahalanobis length). Where codes
    fill few of their dimensions, the weight leads out of them and the image does not follow; the pattern stays inside.
    Its codes are all for a binary attribute, those with a label for other kinds: where there is nothing to measure, the
    score says nothing.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.2: ``move`` along
        the weight, for binary attributes.
        On the interpretation of weight vectors of linear models, Haufe et al., NeuroImage 2014,
        https://doi.org/10.1016/j.neuroimage.2013.10.067: the pattern.
        The other kinds of attributes, ``move_to``, ``move_to_class_mean`` and ``keep`` are this package's.
    """

    def direction(self, name: str, keep: str | Sequence[str] = (), along: str = "weight") -> torch.Tensor:
        """Along which an attribute is edited: a unit vector in normalised z_sem, shape ``(D,)``.

        Args:
            name: of the attribute.
            keep: attributes whose scores must not change: what moves them is taken out, by the smallest correction in
                the length that belongs to ``along`` (along patterns nearly so if other codes have their labels).
            along: ``weight`` or ``pattern``, see above.

        Raises:
            ValueError: for an unknown attribute or ``along``, for an attribute that is to change and to be kept, if
                nothing is left of the direction, or if a pattern is not known.
        """
        kept_weights, kept_patterns = self._kept(name, keep, along)
        start = self.weight[self.index(name)] if along == "weight" else self.pattern_of(name)
        start = start.cpu().double()
        rest = without_parts_along(start[None], kept_weights, kept_patterns)[0]
        weight = self.weight[self.index(name)].cpu().double()
        if not torch.dot(rest, weight) > _LEAST_SHARE[along] * torch.dot(start, weight):  # less is rounding
            kept = names_in(keep)
            raise ValueError(
                f"Nothing is left of the direction of {name!r} without {', '.join(map(repr, kept)) or 'any other'}: "
                + ("its score is a combination of theirs; keep fewer." if kept else "its weights are zero.")
            )
        return (rest / rest.norm()).to(self.weight)

    def move(
        self, z_sem: torch.Tensor, name: str, amount: float, keep: str | Sequence[str] = (), along: str = "weight"
    ) -> torch.Tensor:
        """Strengthen an attribute: ``z_n + amount * sqrt(D) * w / |w|`` on the normalised code, as the authors do.

        Args:
            z_sem: shape ``(B, D)``.
            name: of the attribute.
            amount: about 0.3 is a clear change in the paper; negative values weaken it.
            keep: see :meth:`direction`, which then takes the place of ``w / |w|``.
            along: see :meth:`direction`, likewise.
        """
        direction = self.direction(name, keep, along)
        step = amount * math.sqrt(len(direction)) * direction
        return self.statistics.denormalize(self.statistics.normalize(z_sem) + step)

    def move_to(
        self, z_sem: torch.Tensor, name: str, target: float | str, keep: str | Sequence[str] = (), along: str = "weight"
    ) -> torch.Tensor:
        """The smallest move that gives every code the wanted score, along :meth:`direction`.

        That of a value of a continuous attribute is the mean score of codes of that value, nearer to the mean
        (:meth:`AttributeSummary.target_scores`).

        Args:
            z_sem: shape ``(B, D)``.
            name: of the attribute.
            target: a logit of a binary attribute, a true value of a continuous one, a score of an ordinal one; also
                ``boundary`` or ``across`` of those with classes, or a share such as ``80%`` of a continuous one's
                own value.
            keep: see :meth:`direction`.
            along: ``weight`` for the smallest by its length, ``pattern`` for the smallest by its Mahalanobis length.

        Raises:
            ValueError: for a target that the attribute's kind does not have.

        Warns:
            UserWarning: if a target lies outside the scores of the training data, with :meth:`extrapolation`.
        """
        k, summary = self.index(name), self.summary(name)
        direction = self.direction(name, keep, along)
        scores = self.scores(z_sem)[:, k]
        targets = summary.target_scores(scores, target)
        outside = summary.extrapolation(targets)
        if bool((outside > 0).any()):
            warnings.warn(
                f"{name!r}: the target lies up to {float(outside.max()):.2g} standard deviations outside the training "
                f"scores, which are {summary.score_min:.4g} to {summary.score_max:.4g}; the edit extrapolates.",
                stacklevel=2,
            )
        steps = (targets - scores) / torch.dot(self.weight[k], direction)
        return self.statistics.denormalize(self.statistics.normalize(z_sem) + steps[:, None] * direction)

    def move_to_class_mean(
        self, z_sem: torch.Tensor, name: str, share: float, keep: str | Sequence[str] = (), along: str = "weight"
    ) -> torch.Tensor:
        """A share of the straight way to the mean code of those with a binary attribute: it ends where codes are.

        Args:
            z_sem: shape ``(B, D)``.
            name: of the attribute.
            share: 0 leaves a code as it is, 1 puts it at the mean, with nothing of its own left; down to -1 it goes to
                the mean of those without the attribute.
            keep: attributes whose scores must not change: what moves them is taken out of the step.
            along: whether that is done along their weights or their patterns, see :meth:`direction`.

        Raises:
            ValueError: for another share, an attribute that is not binary, directions without its class means, or what
                cannot be kept (:meth:`direction`).
        """
        means = self.class_means_of(name)
        self.direction(name, keep, along)  # for its errors
        z_normalized = self.statistics.normalize(z_sem)
        step = step_to_class_mean(z_normalized, means, share)
        return self.statistics.denormalize(z_normalized + without_parts_along(step, *self._kept(name, keep, along)))

    def _kept(self, name: str, keep: str | Sequence[str], along: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weights ``(M, D)`` of what is kept while another attribute is edited; and patterns, to edit along those."""
        if along not in _LEAST_SHARE:
            raise ValueError(f"along must be one of {', '.join(_LEAST_SHARE)}; got {along!r}.")
        kept = names_in(keep)
        if name in kept:
            raise ValueError(f"{name!r} is to be edited and cannot be kept.")
        weights = self.weight[[self.index(other) for other in kept]]
        if along == "weight" or not kept:
            return weights, None
        return weights, torch.stack([self.pattern_of(other) for other in kept])
