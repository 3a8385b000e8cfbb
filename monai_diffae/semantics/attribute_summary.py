# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch

__all__ = ["KINDS", "AttributeSummary"]

KINDS = ("binary", "ordinal", "continuous")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


@dataclass(frozen=True)
class AttributeSummary:
    """What is known about an attribute's direction, beside the direction.

    The scores are logits of a binary attribute, predicted values (in the label's unit) of the other kinds.

    Args:
        kind: ``binary``, ``ordinal`` (integer grades) or ``continuous``.
        num_labels: codes with a label that it was fitted to; None where that is not known (converted weights).
        num_positive: those of them with the label 1, of a binary attribute.
        num_unlabelled: codes that in truth have no label and stand among those with the label 0
            (:func:`~monai_diffae.semantics.fit_few_shot`).
        score_min: smallest score of those codes, NaN where it is not known; likewise ``score_max``, ``score_mean`` and
            ``score_std``.
        score_per_unit: of a continuous attribute, by how much the mean score of codes changes when their true value
            changes by 1: ``Cov(score, value) / Var(value)`` of the training data, between 0 and 1. A regression gives
            the likeliest value of a code, which is nearer to the mean than the value itself the less the codes tell of
            it. 1 takes scores for values, as where this is not known.
        cross_validated: ``auroc`` of a binary attribute, ``r2`` and ``mae`` (mean absolute error, in the label's unit)
            of the others; empty where it was not measured.
        grades: of an ordinal attribute, ascending, K of them.
        thresholds: the K - 1 scores, ascending, at which the next grade becomes likelier than not.
        confounders: what its pattern leaves out (:func:`~monai_diffae.semantics.confounders.adjusted_pattern`).

    Raises:
        ValueError: for an unknown kind.
    """

    kind: str = "binary"
    num_labels: int | None = None
    num_positive: int | None = None
    score_min: float = math.nan
    score_max: float = math.nan
    score_mean: float = math.nan
    score_std: float = math.nan
    cross_validated: Mapping[str, float] = field(default_factory=dict)
    grades: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()
    num_unlabelled: int = 0
    score_per_unit: float = 1.0
    confounders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"The kind of an attribute is one of {', '.join(KINDS)}; got {self.kind!r}.")

    def target_scores(self, scores: torch.Tensor, target: float | str) -> torch.Tensor:
        """What a target means for codes.

        A value of a continuous attribute is reached at the mean score of codes of that value,
        ``score_mean + score_per_unit * (target - score_mean)`` (classical calibration; at a score equal to the value
        codes would have a more extreme one). From the mean there along the pattern of a regression is ``target`` minus
        the mean times ``Cov(z, value) / Var(value)``, the mean difference of codes whose values differ by that.

        References:
            Krutchkoff, Classical and inverse regression methods of calibration, Technometrics 9, 1967: the regression
            of values on measurements is the inverse method.

        Args:
            scores: that the codes have, shape ``(B,)``.
            target: a logit of a binary attribute, a true value of a continuous one in its unit, a score of an ordinal
                one, the same for all codes; or, for binary and ordinal attributes, ``boundary`` (logit 0, or the
                nearest score between two grades) or ``across`` (mirrored at the boundary, so that the code's own logit
                changes its sign, or its grade another); or, for continuous ones, a share such as ``80%`` of the value
                that each code has: of its score, the likeliest value. The score changes by ``score_per_unit`` times
                the change of the value.

        Returns:
            The scores that they shall have, shape ``(B,)``.

        Raises:
            ValueError: for another target, or one that the attribute's kind does not have.
        """
        if isinstance(target, str) and target in ("boundary", "across"):
            boundaries = {"binary": (0.0,), "ordinal": self.thresholds}.get(self.kind, ())
            if not boundaries:
                raise ValueError(f"The attribute is {self.kind} and has no boundary; give a value, not {target!r}.")
            levels = scores.new_tensor(boundaries)
            nearest = levels[(scores[:, None] - levels).abs().argmin(dim=1)]
            return 2 * nearest - scores if target == "across" else nearest
        if isinstance(target, str) and (share := _SHARE.fullmatch(target)):
            if self.kind != "continuous":
                raise ValueError(f"The attribute is {self.kind}, and {target} of it means nothing; give a score.")
            return scores * (1 + self.score_per_unit * (float(share[1]) / 100 - 1))
        if not isinstance(target, Real) or isinstance(target, bool) or not math.isfinite(target):
            raise ValueError(f"A target is a finite number, a share as '80%', 'boundary' or 'across'; got {target!r}.")
        if self.score_per_unit != 1:
            target = self.score_mean + self.score_per_unit * (target - self.score_mean)
        return torch.full_like(scores, float(target))

    def extrapolation(self, scores: float | torch.Tensor) -> torch.Tensor:
        """How far scores lie outside the range of the training data's scores, in standard deviations of those.

        Returns:
            Shape of ``scores``; 0 inside, NaN where the training scores are not known (converted weights).
        """
        scores = torch.as_tensor(scores)
        above, below = (scores - self.score_max).clamp(min=0), (self.score_min - scores).clamp(min=0)
        return (above + below) / self.score_std

    def probability(self, scores: torch.Tensor, prior: float = 0.5) -> torch.Tensor:
        """Of a binary attribute, given that a share ``prior`` of all codes has it: Bayes' rule.

        The logit ``f`` of a model of balanced classes is the log of a ratio of densities, ``p(z | 1)`` over that of the
        codes it took for 0. Where a share u of those is unlabelled, a share ``rho = u * prior`` of them has the
        attribute, so that ``exp(-f) - rho`` is ``(1 - rho) p(z | 0) / p(z | 1)``.

        Args:
            scores: logits, any shape.
            prior: in (0, 1).

        Returns:
            Shape of ``scores``, in [0, 1]; the sigmoid of ``scores + log(prior / (1 - prior))`` if every 0 is a label.

        Raises:
            ValueError: for another kind, which has no probability, or another prior.
        """
        if self.kind != "binary" or not 0 < prior < 1:
            raise ValueError(f"Expected a binary attribute and a prior in (0, 1); got {self.kind} and {prior}.")
        rho = 0.0
        if self.num_unlabelled:
            rho = prior * self.num_unlabelled / (self.num_labels - self.num_positive)
        odds = (torch.exp(-scores.double()) - rho).clamp(min=0) / (1 - rho) * (1 - prior) / prior  # of 0 to 1
        return (1 / (1 + odds)).to(scores)

    def row(self) -> dict[str, Any]:
        """As a row of a table: every column for every kind, None in those that do not apply or are not known."""
        return {
            "kind": self.kind,
            "labels": self.num_labels,
            "positive": self.num_positive,
            **{name: self.cross_validated.get(name) for name in ("auroc", "r2", "mae")},
            **{
                name: None if math.isnan(value) else value
                for name, value in (
                    ("score_min", self.score_min),
                    ("score_max", self.score_max),
                    ("score_mean", self.score_mean),
                    ("score_std", self.score_std),
                )
            },
            "score_per_unit": self.score_per_unit if self.kind == "continuous" else None,
            "thresholds": " ".join(f"{value:.4g}" for value in self.thresholds) or None,
            "confounders": " ".join(self.confounders) or None,
        }
