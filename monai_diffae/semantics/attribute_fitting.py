# SPDX-License-Identifier: Apache-2.0
"""The linear model of one attribute on normalised codes: checks of its labels, regression, cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_predict, cross_val_score

from monai_diffae.semantics.attribute_summary import KINDS, AttributeSummary
from monai_diffae.semantics.confounders import adjusted_pattern
from monai_diffae.semantics.proportional_odds import ProportionalOdds

__all__ = ["FittedAttribute", "fit_attribute"]

_MAX_GRADES = 20  # every grade is one more copy of the data set


class FittedAttribute(NamedTuple):
    """The model of one attribute on normalised codes.

    Args:
        weight: shape ``(D,)``.
        bias: ``z @ weight + bias`` is the score.
        pattern: covariance of codes times the weight, shape ``(D,)``; of all codes for a binary attribute, of those
            with a label for other kinds. With confounders as
            :func:`~monai_diffae.semantics.confounders.adjusted_pattern` says.
        class_means: mean code of those without a binary attribute and of those with it, shape ``(2, D)``; NaN for other
            kinds, which have no classes.
        summary: of the fit.
    """

    weight: np.ndarray
    bias: float
    pattern: np.ndarray
    class_means: np.ndarray
    summary: AttributeSummary


def fit_attribute(
    name: str,
    z_normalized: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    kind: str | None,
    regularization: float,
    class_weight: str | float | None,
    num_folds: int,
    confounders: Mapping[str, np.ndarray],
) -> FittedAttribute:
    """One attribute of :meth:`~monai_diffae.semantics.AttributeDirections.fit`, which documents the arguments.

    Args:
        name: for the messages.
        z_normalized: shape ``(N, D)``.
        labels: floats, shape ``(N,)``; NaN where there is none.
        groups: shape ``(N,)``.
        kind: None to infer it.
    """
    confounders = {other: values for other, values in confounders.items() if other != name}
    if labels.shape != (len(z_normalized),):
        raise ValueError(f"Attribute {name!r} needs {len(z_normalized)} labels, one a code; got shape {labels.shape}.")
    known = ~np.isnan(labels)
    z, y, groups = z_normalized[known], labels[known], groups[known]
    if kind is None:
        kind = "binary" if len(y) and np.isin(y, (0, 1)).all() else "continuous"
    _check_labels(name, kind, y)

    models: dict[str, BaseEstimator] = {
        "binary": LogisticRegression(C=regularization, class_weight=_class_weight(class_weight), max_iter=2000),
        "ordinal": ProportionalOdds(C=regularization),
        # Its result scales with the labels, so that their unit does not matter.
        "continuous": Ridge(alpha=1 / regularization),
    }
    model = models[kind]
    cross_validated = _cross_validate(model, kind, z, y, groups, num_folds)
    model.fit(z, y)
    weight, bias = np.ravel(model.coef_), float(np.ravel(model.intercept_)[0])
    scores = z @ weight + bias
    if confounders:
        pattern = adjusted_pattern(name, z, y, {other: values[known] for other, values in confounders.items()}, weight)
    else:
        # A code without a label of a class may be of another one (a lesion on the other side) and tells how codes vary.
        # One without that of a quantity shows nothing to measure (no ventricles), which would come along in an edit.
        varying = z_normalized if kind == "binary" else z
        centred = varying - varying.mean(axis=0)
        pattern = (centred @ weight) @ centred / max(1, len(centred) - 1)  # without the D x D covariance
    summary = AttributeSummary(
        kind=kind,
        num_labels=len(y),
        num_positive=int(y.sum()) if kind == "binary" else None,
        score_min=float(scores.min()),
        score_max=float(scores.max()),
        score_mean=float(scores.mean()),
        score_std=float(scores.std()),
        cross_validated=cross_validated,
        grades=tuple(model.grades_.tolist()) if kind == "ordinal" else (),
        thresholds=tuple(model.thresholds_.tolist()) if kind == "ordinal" else (),
        confounders=tuple(confounders),
        score_per_unit=float(np.cov(scores, y)[0, 1] / y.var(ddof=1)) if kind == "continuous" else 1.0,
    )
    is_binary = kind == "binary"
    class_means = np.stack([z[y == c].mean(axis=0) if is_binary else np.full(z.shape[1], np.nan) for c in (0, 1)])
    return FittedAttribute(weight, bias, pattern, class_means, summary)


def _check_labels(name: str, kind: str, y: np.ndarray) -> None:
    values = np.unique(y)
    got = f"got {len(y)} labels with the values {values[:10].tolist()}{'...' if len(values) > 10 else ''}."
    if kind not in KINDS:
        raise ValueError(f"Attribute {name!r} must be one of {', '.join(KINDS)}; got kind {kind!r}.")
    if not np.isfinite(y).all():
        raise ValueError(f"Attribute {name!r} needs finite labels; {got}")
    if kind == "binary" and set(values) != {0.0, 1.0}:
        raise ValueError(f"Attribute {name!r} is binary and needs labels of 0 and 1, both of them present; {got}")
    if kind == "ordinal" and (not 3 <= len(values) <= _MAX_GRADES or (values != values.round()).any()):
        raise ValueError(
            f"Attribute {name!r} is ordinal and needs integer grades, 3 to {_MAX_GRADES} of them (two are binary, more "
            f"are continuous); {got}"
        )
    if len(values) < 2:
        raise ValueError(f"Attribute {name!r} needs labels of two values or more; {got}")


def _class_weight(class_weight: str | float | None) -> str | dict[int, float] | None:
    """scikit-learn's: a number is the weight of a positive label, with 1 for a negative one."""
    if class_weight in ("balanced", None):
        return class_weight
    if isinstance(class_weight, (str, bool)) or not class_weight > 0:
        raise ValueError(
            "class_weight must be 'balanced', None or a positive number, the weight of a positive label; "
            f"got {class_weight!r}."
        )
    return {0: 1.0, 1: float(class_weight)}


def _cross_validate(
    model: BaseEstimator, kind: str, z: np.ndarray, y: np.ndarray, groups: np.ndarray, num_folds: int
) -> dict[str, float]:
    """Scores on codes whose group the model did not see; empty where too few groups make folds without a class.

    Folds are drawn: those in order would leave out items in a cyclic order (0, 1, ..., 9, 0, 1, ...) class by class.
    """
    if kind == "binary":
        if min(len(np.unique(groups[y == c])) for c in (0, 1)) < num_folds:
            return {}
        splits = list(StratifiedGroupKFold(num_folds, shuffle=True, random_state=0).split(z, y, groups))
        if any(len(np.unique(y[part])) < 2 for split in splits for part in split):
            return {}
        return {"auroc": float(cross_val_score(model, z, y, cv=splits, scoring="roc_auc").mean())}
    if len(np.unique(groups)) < num_folds:
        return {}
    splits = list(GroupKFold(num_folds, shuffle=True, random_state=0).split(z, y, groups))
    if any(len(np.unique(y[train])) < 2 for train, _ in splits):
        return {}
    predicted = cross_val_predict(model, z, y, cv=splits)
    return {"r2": float(r2_score(y, predicted)), "mae": float(mean_absolute_error(y, predicted))}
