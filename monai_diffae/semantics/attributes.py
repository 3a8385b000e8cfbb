# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn as nn

from monai_diffae.semantics.attribute_files import read_attributes, write_attributes
from monai_diffae.semantics.attribute_fitting import fit_attribute
from monai_diffae.semantics.attribute_summary import AttributeSummary
from monai_diffae.semantics.statistics import LatentStatistics

__all__ = ["AttributeDirections"]


class AttributeDirections(nn.Module):
    """Linear models of attributes on z_sem, and the directions in which to edit them.

    All methods take and give raw z_sem; the normalisation is inside.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.2: ``move``, for
        binary attributes. The other kinds of attributes, ``move_to`` and ``keep`` are this package's.

    Args:
        names: of the K attributes.
        weight: of the models on normalised z_sem, shape ``(K, D)``.
        bias: shape ``(K,)``.
        statistics: of z_sem.
        summaries: kind, training scores and cross-validated scores of the attributes; those that have none are binary
            ones of which nothing else is known.

    Raises:
        ValueError: if the shapes do not fit, or a name is given twice.
    """

    def __init__(
        self,
        names: Sequence[str],
        weight: torch.Tensor,
        bias: torch.Tensor,
        statistics: LatentStatistics,
        summaries: Mapping[str, AttributeSummary] | None = None,
    ) -> None:
        super().__init__()
        if weight.shape != (len(names), len(statistics.mean)) or bias.shape != (len(names),):
            raise ValueError(
                f"Expected weight of shape {(len(names), len(statistics.mean))} and bias of shape {(len(names),)} for "
                f"{len(names)} attributes, got {tuple(weight.shape)} and {tuple(bias.shape)}."
            )
        if len(set(names)) != len(names) or not set(summaries or {}) <= set(names):
            raise ValueError(
                f"Expected different names, and summaries of some; got {list(names)} and {list(summaries or {})}."
            )
        self.names = list(names)
        self.summaries = {name: AttributeSummary() for name in names} | dict(summaries or {})
        self.statistics = statistics
        self.register_buffer("weight", weight.detach().clone().float())
        self.register_buffer("bias", bias.detach().clone().float())

    @classmethod
    def fit(
        cls,
        z_sem: torch.Tensor,
        labels: Mapping[str, torch.Tensor],
        groups: torch.Tensor | None = None,
        kinds: Mapping[str, str] | None = None,
        regularization: float = 0.01,
        class_weight: str | float | None = "balanced",
        num_folds: int = 5,
    ) -> AttributeDirections:
        """Fit each attribute on normalised codes, by a method that suits its kind.

        ``binary``: logistic regression. ``continuous``: ridge regression. ``ordinal``: one direction and ordered
        thresholds, see :class:`~monai_diffae.semantics.proportional_odds.ProportionalOdds`.

        Args:
            z_sem: codes of a data set, shape ``(N, D)``.
            labels: for each attribute a number a code, shape ``(N,)``; NaN leaves the code out for this attribute.
            groups: which codes belong together (slices of one subject), integers of shape ``(N,)``; the folds of the
                cross-validation keep them together. ``None``: every code for itself.
            kinds: ``binary``, ``ordinal`` or ``continuous``, by name. An attribute that is not named is binary if its
                labels are 0 and 1, else continuous: ordinal must be asked for.
            regularization: inverse strength, scikit-learn's ``C`` (``1 / alpha`` of the ridge). A small value turns
                the direction towards the difference of the class means, which edits better than the sharpest boundary.
            class_weight: of binary attributes: ``balanced``, ``None`` for every label the same, or a number, the weight
                of a positive label where a negative one has 1.
            num_folds: of the cross-validated scores; skipped where there are fewer groups (of each class, if binary).

        Raises:
            ValueError: if labels do not suit their kind (binary: both of 0 and 1; ordinal: integers, 3 to 20 grades;
                continuous: two values or more), or for arguments out of range.
        """
        if unknown := set(kinds or {}) - set(labels):
            raise ValueError(f"kinds names {sorted(unknown)}, which are not among the labels {list(labels)}.")
        if not labels or not regularization > 0:
            raise ValueError(f"Expected labels and regularization above 0; got {list(labels)} and {regularization}.")
        statistics = LatentStatistics.fit(z_sem.cpu())
        z_normalized = statistics.normalize(z_sem.cpu()).double().numpy()
        group_ids = np.arange(len(z_sem)) if groups is None else groups.cpu().numpy()
        fitted = {
            name: fit_attribute(
                name,
                z_normalized,
                np.asarray(values.cpu()).astype(float),
                group_ids,
                (kinds or {}).get(name),
                regularization,
                class_weight,
                num_folds,
            )
            for name, values in labels.items()
        }
        weight = torch.stack([torch.from_numpy(weight) for weight, _, _ in fitted.values()])
        bias = torch.tensor([bias for _, bias, _ in fitted.values()])
        return cls(list(labels), weight, bias, statistics, {name: summary for name, (_, _, summary) in fitted.items()})

    def index(self, name: str) -> int:
        """Place of an attribute; ValueError for an unknown one."""
        if name not in self.names:
            raise ValueError(f"Unknown attribute {name!r}; there are {', '.join(self.names)}.")
        return self.names.index(name)

    def summary(self, name: str) -> AttributeSummary:
        """What is known about an attribute; ValueError for an unknown one."""
        self.index(name)
        return self.summaries[name]

    def scores(self, z_sem: torch.Tensor) -> torch.Tensor:
        """Scores of the attributes, ``(B, D) -> (B, K)``.

        Logits of binary ones, above 0 where the attribute is likelier than not; predicted values of ordinal and
        continuous ones, in the label's unit.
        """
        return nn.functional.linear(self.statistics.normalize(z_sem), self.weight, self.bias)

    def grades(self, z_sem: torch.Tensor, name: str) -> torch.Tensor:
        """The grade of an ordinal attribute that the score falls in, ``(B, D) -> (B,)``; ValueError for other kinds."""
        summary = self.summary(name)
        if summary.kind != "ordinal":
            raise ValueError(f"{name!r} is {summary.kind} and has no grades.")
        scores = self.scores(z_sem)[:, self.index(name)].contiguous()
        return scores.new_tensor(summary.grades)[torch.bucketize(scores, scores.new_tensor(summary.thresholds))]

    def direction(self, name: str, keep: str | Sequence[str] = ()) -> torch.Tensor:
        """Along which an attribute is edited: a unit vector in normalised z_sem, shape ``(D,)``.

        Args:
            name: of the attribute.
            keep: attributes whose scores must not change: the parts along their weights are taken out.

        Raises:
            ValueError: for an unknown attribute, for one that is to change and to be kept, or if nothing is left of
                the direction.
        """
        keep = [keep] if isinstance(keep, str) else list(keep)
        if name in keep:
            raise ValueError(f"{name!r} is to be edited and cannot be kept.")
        weight = self.weight.cpu().double()
        w = weight[self.index(name)]
        rest = w
        if keep:
            # Of length 1, since units differ between attributes.
            others = nn.functional.normalize(weight[[self.index(other) for other in keep]]).T
            # A driver that takes others which depend on each other.
            rest = w - (others @ torch.linalg.lstsq(others, w[:, None], driver="gelsd").solution)[:, 0]
        if not rest.norm() > 1e-4 * w.norm():  # less is rounding
            raise ValueError(
                f"Nothing is left of the direction of {name!r} without {', '.join(map(repr, keep)) or 'any other'}: "
                + ("its score is a combination of theirs; keep fewer." if keep else "its weights are zero.")
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

    def extrapolation(self, name: str, scores: float | torch.Tensor) -> torch.Tensor:
        """How far scores lie outside those of the training data: :meth:`AttributeSummary.extrapolation`."""
        return self.summary(name).extrapolation(scores)

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to one file, which :meth:`load` reads without running code from it."""
        write_attributes(path, self.names, self.summaries, self.state_dict())

    @classmethod
    def load(cls, path: str | os.PathLike) -> AttributeDirections:
        """Read a file of :meth:`save`; ValueError for a file that is none."""
        return cls(**read_attributes(path))
