# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn as nn

from monai_diffae.semantics.attribute_files import read_attributes, write_attributes
from monai_diffae.semantics.attribute_fitting import fit_attribute
from monai_diffae.semantics.attribute_summary import AttributeSummary
from monai_diffae.semantics.statistics import LatentStatistics

__all__ = ["AttributeModels"]

_Models = TypeVar("_Models", bound="AttributeModels")


class AttributeModels(nn.Module):
    """Linear models of attributes on z_sem: fitted, applied and kept in a file.

    All methods take raw z_sem; the normalisation is inside.

    Args:
        names: of the K attributes.
        weight: of the models on normalised z_sem, shape ``(K, D)``.
        bias: shape ``(K,)``.
        statistics: of z_sem.
        summaries: kind, training scores and cross-validated scores of the attributes; those that have none are binary
            ones of which nothing else is known.
        class_means: normalised mean code of those without and of those with each binary attribute, shape
            ``(K, 2, D)``; NaN where there are no classes or their means are not known, as all are without it.
        pattern: covariance of the normalised codes times each weight, shape ``(K, D)``: how the codes differ with each
            score (Haufe et al., NeuroImage 2014), all of them for a binary attribute, those with a label for other
            kinds; NaN where it is not known, as all is without it.

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
        class_means: torch.Tensor | None = None,
        pattern: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        if weight.shape != (len(names), len(statistics.mean)) or bias.shape != (len(names),):
            raise ValueError(
                f"Expected weight of shape {(len(names), len(statistics.mean))} and bias of shape {(len(names),)} for "
                f"{len(names)} attributes, got {tuple(weight.shape)} and {tuple(bias.shape)}."
            )
        if class_means is None:
            class_means = torch.full((len(names), 2, weight.shape[1]), math.nan)
        if class_means.shape != (len(names), 2, weight.shape[1]):
            raise ValueError(
                f"Expected class_means of shape {(len(names), 2, weight.shape[1])}, got {tuple(class_means.shape)}."
            )
        if pattern is None:
            pattern = torch.full_like(weight, math.nan)
        if pattern.shape != weight.shape:
            raise ValueError(f"Expected pattern of weight's shape {tuple(weight.shape)}, got {tuple(pattern.shape)}.")
        if len(set(names)) != len(names) or not set(summaries or {}) <= set(names):
            raise ValueError(
                f"Expected different names, and summaries of some; got {list(names)} and {list(summaries or {})}."
            )
        self.names = list(names)
        self.summaries = {name: AttributeSummary() for name in names} | dict(summaries or {})
        self.statistics = statistics
        self.register_buffer("weight", weight.detach().clone().float())
        self.register_buffer("bias", bias.detach().clone().float())
        self.register_buffer("class_means", class_means.detach().clone().float())
        self.register_buffer("pattern", pattern.detach().clone().float())

    @classmethod
    def fit(
        cls: type[_Models],
        z_sem: torch.Tensor,
        labels: Mapping[str, torch.Tensor],
        groups: torch.Tensor | None = None,
        kinds: Mapping[str, str] | None = None,
        regularization: float = 0.01,
        class_weight: str | float | None = "balanced",
        num_folds: int = 5,
        confounders: Mapping[str, torch.Tensor] | None = None,
    ) -> _Models:
        """Fit each attribute on normalised codes, by a method that suits its kind.

        ``binary``: logistic regression. ``continuous``: ridge regression. ``ordinal``: one direction and ordered
        thresholds, see :class:`~monai_diffae.semantics.proportional_odds.ProportionalOdds`.

        Args:
            z_sem: codes of a data set, shape ``(N, D)``.
            labels: for each attribute a number a code, shape ``(N,)``; NaN leaves the code out for this attribute,
                but not out of the statistics of z_sem, nor of the covariance in the pattern of a binary attribute.
            groups: which codes belong together (slices of one subject), integers of shape ``(N,)``; the folds of the
                cross-validation keep them together. ``None``: every code for itself.
            kinds: ``binary``, ``ordinal`` or ``continuous``, by name. An attribute that is not named is binary if its
                labels are 0 and 1, else continuous: ordinal must be asked for.
            regularization: inverse strength, scikit-learn's ``C`` (``1 / alpha`` of the ridge). A small value turns
                the direction towards the difference of the class means, which edits better than the sharpest boundary.
            class_weight: of binary attributes: ``balanced``, ``None`` for every label the same, or a number, the weight
                of a positive label where a negative one has 1.
            num_folds: of the cross-validated scores; skipped where there are fewer groups (of each class, if binary).
            confounders: for each a number a code, shape ``(N,)``: what the patterns leave out, as
                :func:`~monai_diffae.semantics.confounders.adjusted_pattern` says. The weights stay as they are. One may
                be an attribute, which is not adjusted for itself.

        Raises:
            ValueError: if labels do not suit their kind (binary: both of 0 and 1; ordinal: integers, 3 to 20 grades;
                continuous: two values or more), for arguments out of range, and for confounders that leave nothing.
        """
        kinds = {str(name): kind for name, kind in (kinds or {}).items()}
        if unknown := set(kinds) - set(labels):
            raise ValueError(f"kinds names {sorted(unknown)}, which are not among the labels {list(labels)}.")
        if not labels or not regularization > 0:
            raise ValueError(f"Expected labels and regularization above 0; got {list(labels)} and {regularization}.")
        statistics = LatentStatistics.fit(z_sem.cpu())
        z_normalized = statistics.normalize(z_sem.cpu()).double().numpy()
        group_ids = np.arange(len(z_sem)) if groups is None else groups.cpu().numpy()
        others = {name: np.asarray(values.cpu()).astype(float) for name, values in (confounders or {}).items()}
        if wrong := [name for name, values in others.items() if values.shape != (len(z_sem),)]:
            raise ValueError(f"The confounder {wrong[0]!r} needs {len(z_sem)} numbers, one a code.")
        fitted = {
            name: fit_attribute(
                name,
                z_normalized,
                np.asarray(values.cpu()).astype(float),
                group_ids,
                kinds.get(name),
                regularization,
                class_weight,
                num_folds,
                others,
            )
            for name, values in labels.items()
        }
        weight = np.stack([one.weight for one in fitted.values()])
        return cls(
            list(labels),
            torch.from_numpy(weight),
            torch.tensor([one.bias for one in fitted.values()]),
            statistics,
            {name: one.summary for name, one in fitted.items()},
            torch.stack([torch.from_numpy(one.class_means) for one in fitted.values()]),
            torch.from_numpy(np.stack([one.pattern for one in fitted.values()])),
        )

    def index(self, name: str) -> int:
        """Place of an attribute; ValueError for an unknown one. The command line takes the name 8 for a number."""
        name = str(name)
        if name not in self.names:
            raise ValueError(f"Unknown attribute {name!r}; there are {', '.join(self.names)}.")
        return self.names.index(name)

    def summary(self, name: str) -> AttributeSummary:
        """What is known about an attribute; ValueError for an unknown one."""
        return self.summaries[self.names[self.index(name)]]

    def class_means_of(self, name: str) -> torch.Tensor:
        """Normalised mean code of those without and of those with a binary attribute, shape ``(2, D)``.

        Raises:
            ValueError: for an unknown attribute, one of another kind, or where the means are not known.
        """
        kind, means = self.summary(name).kind, self.class_means[self.index(name)]
        if kind != "binary":
            raise ValueError(
                f"{name!r} is {kind} and has no two classes with a mean code each: edit it by an amount or to a target."
            )
        if bool(means.isnan().any()):
            raise ValueError(
                f"The class means of {name!r} are not known: its file was written by a version that did not keep them, "
                "or converted from a classifier. Fit it again (fit_attributes.yaml), or edit it by an amount or to a "
                "target."
            )
        return means

    def pattern_of(self, name: str) -> torch.Tensor:
        """Along which normalised codes differ with the score of an attribute, shape ``(D,)``.

        Raises:
            ValueError: for an unknown attribute, or where the pattern is not known.
        """
        pattern = self.pattern[self.index(name)]
        if bool(pattern.isnan().any()):
            raise ValueError(
                f"The pattern of {name!r} is not known: its file was written by a version that did not keep it, or "
                "converted from a classifier. Fit it again (fit_attributes.yaml), or edit along 'weight'."
            )
        return pattern

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

    def extrapolation(self, name: str, scores: float | torch.Tensor) -> torch.Tensor:
        """How far scores lie outside those of the training data: :meth:`AttributeSummary.extrapolation`."""
        return self.summary(name).extrapolation(scores)

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to one file, which :meth:`load` reads without running code from it."""
        write_attributes(path, self.names, self.summaries, self.state_dict())

    @classmethod
    def load(cls: type[_Models], path: str | os.PathLike) -> _Models:
        """Read a file of :meth:`save`; ValueError for a file that is none."""
        arguments = read_attributes(path)
        try:
            return cls(**arguments)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)!r} holds no attribute directions: {error}") from None
