# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch

from monai_diffae.semantics.attribute_models import AttributeModels
from monai_diffae.semantics.class_means import step_to_class_mean
from monai_diffae.semantics.kept_scores import without_parts_along

__all__ = ["AttributeDirections"]


class AttributeDirections(AttributeModels):
    """Linear models of attributes on z_sem (the base class, with the arguments), and the edits that follow from them.

    All methods take and give raw z_sem; the normalisation is inside.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.2: ``move``, for
        binary attributes. The other kinds of attributes, ``move_to``, ``move_to_class_mean`` and ``keep`` are this
        package's.
    """

    def direction(self, name: str, keep: str | Sequence[str] = ()) -> torch.Tensor:
        """Along which an attribute is edited: a unit vector in normalised z_sem, shape ``(D,)``.

        Args:
            name: of the attribute.
            keep: attributes whose scores must not change: the parts along their weights are taken out.

        Raises:
            ValueError: for an unknown attribute, for one that is to change and to be kept, or if nothing is left of
                the direction.
        """
        w = self.weight[self.index(name)].cpu().double()
        rest = without_parts_along(w[None], self._kept_weights(name, keep))[0]
        if not rest.norm() > 1e-4 * w.norm():  # less is rounding
            kept = [keep] if isinstance(keep, str) else keep
            raise ValueError(
                f"Nothing is left of the direction of {name!r} without {', '.join(map(repr, kept)) or 'any other'}: "
                + ("its score is a combination of theirs; keep fewer." if kept else "its weights are zero.")
            )
        return (rest / rest.norm()).to(self.weight)

    def move(self, z_sem: torch.Tensor, name: str, amount: float, keep: str | Sequence[str] = ()) -> torch.Tensor:
        """Strengthen an attribute: ``z_n + amount * sqrt(D) * w / |w|`` on the normalised code, as the authors do.

        Args:
            z_sem: shape ``(B, D)``.
            name: of the attribute.
            amount: about 0.3 is a clear change in the paper; negative values weaken it.
            keep: see :meth:`direction`, which then takes the place of ``w / |w|``.
        """
        direction = self.direction(name, keep)
        step = amount * math.sqrt(len(direction)) * direction
        return self.statistics.denormalize(self.statistics.normalize(z_sem) + step)

    def move_to(
        self, z_sem: torch.Tensor, name: str, target: float | str, keep: str | Sequence[str] = ()
    ) -> torch.Tensor:
        """The smallest move along :meth:`direction` that gives every code the wanted score.

        Args:
            z_sem: shape ``(B, D)``.
            name: of the attribute.
            target: a score (logit or value); of a binary attribute also ``boundary`` or ``across``
                (:meth:`AttributeSummary.target_scores`).
            keep: see :meth:`direction`.

        Raises:
            ValueError: for a target that the attribute's kind does not have.

        Warns:
            UserWarning: if a target lies outside the scores of the training data, with :meth:`extrapolation`.
        """
        k, summary = self.index(name), self.summary(name)
        direction = self.direction(name, keep)
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
        self, z_sem: torch.Tensor, name: str, share: float, keep: str | Sequence[str] = ()
    ) -> torch.Tensor:
        """A share of the straight way to the mean code of those with a binary attribute: it ends where codes are.

        Args:
            z_sem: shape ``(B, D)``.
            name: of the attribute.
            share: 0 leaves a code as it is, 1 puts it at the mean, with nothing of its own left; down to -1 it goes to
                the mean of those without the attribute.
            keep: attributes whose scores must not change: the parts of the step along their weights are taken out.

        Raises:
            ValueError: for another share, an attribute that is not binary, directions without its class means, or what
                cannot be kept (:meth:`direction`).
        """
        means = self.class_means_of(name)
        self.direction(name, keep)  # for its errors
        z_normalized = self.statistics.normalize(z_sem)
        step = step_to_class_mean(z_normalized, means, share)
        return self.statistics.denormalize(z_normalized + without_parts_along(step, self._kept_weights(name, keep)))

    def _kept_weights(self, name: str, keep: str | Sequence[str]) -> torch.Tensor:
        """Of the attributes that are kept while another is edited, ``(M, D)``."""
        kept = [keep] if isinstance(keep, str) else keep
        if name in kept:
            raise ValueError(f"{name!r} is to be edited and cannot be kept.")
        return self.weight[[self.index(other) for other in kept]]
