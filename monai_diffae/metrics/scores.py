# SPDX-License-Identifier: Apache-2.0
"""Measures of predictions against labels, by scikit-learn, and their intervals over subjects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import pearsonr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)

__all__ = ["KINDS", "bootstrap_intervals", "infer_kind", "score_predictions"]

KINDS = ("binary", "classes", "continuous")


def infer_kind(labels: np.ndarray) -> str:
    """``binary`` if the labels are 0 and 1, else ``continuous``; classes must be asked for."""
    return "binary" if np.isin(labels, (0, 1)).all() else "continuous"


def score_predictions(kind: str, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """How well predictions tell labels.

    Args:
        kind: ``binary``, ``classes`` or ``continuous``.
        labels: shape ``(N,)``.
        predictions: shape ``(N,)``: logits of ``binary`` labels, which say 1 above 0; the predicted class or value of
            the others.

    Returns:
        Of ``binary``: ``auroc``, ``average_precision``, ``f1``, ``accuracy``. Of ``classes``: ``accuracy`` and
        ``f1_macro``. Of ``continuous``: ``r2``, ``mae`` in the unit of the labels, and ``pearson``. NaN where the
        labels do not vary and a measure has no value.

    Raises:
        ValueError: for another kind, or no labels.
    """
    if kind not in KINDS or not len(labels):
        raise ValueError(f"Expected labels of a kind among {', '.join(KINDS)}; got {len(labels)} of {kind!r}.")
    varies = len(np.unique(labels)) > 1
    if kind == "binary":
        said = predictions > 0
        return {
            "auroc": float(roc_auc_score(labels, predictions)) if varies else np.nan,
            "average_precision": float(average_precision_score(labels, predictions)) if labels.any() else np.nan,
            "f1": float(f1_score(labels, said, zero_division=0.0)) if labels.any() else np.nan,
            "accuracy": float(accuracy_score(labels, said)),
        }
    if kind == "classes":
        return {
            "accuracy": float(accuracy_score(labels, predictions)),
            "f1_macro": float(f1_score(labels, predictions, average="macro", zero_division=0.0)),
        }
    correlates = varies and np.std(predictions) > 0
    return {
        "r2": float(r2_score(labels, predictions)) if varies else np.nan,
        "mae": float(mean_absolute_error(labels, predictions)),
        "pearson": float(pearsonr(labels, predictions).statistic) if correlates else np.nan,
    }


def bootstrap_intervals(
    measure: Callable[[np.ndarray], dict[str, float]],
    groups: np.ndarray,
    num_draws: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap over groups: subjects are drawn with replacement, with all their images.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13.

    Args:
        measure: from the indices of drawn images to numbers by name; NaN where a draw has none.
        groups: of each image, shape ``(N,)``.
        num_draws: 1 or more.
        seed: of the draws.
        level: share of the draws between the bounds.

    Returns:
        Lower and upper bound by name; NaN for both where there is a single group or no draw has a value.
    """
    places = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    random = np.random.default_rng(seed)
    draws = [
        measure(np.concatenate([places[i] for i in random.integers(len(places), size=len(places))]))
        for _ in range(num_draws if len(places) > 1 else 0)
    ]
    names = draws[0] if draws else measure(np.arange(len(groups)))
    bounds = {}
    for name in names:
        values = np.array([draw[name] for draw in draws if not np.isnan(draw[name])])
        ends = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]) if len(values) else (np.nan, np.nan)
        bounds[name] = (float(ends[0]), float(ends[1]))
    return bounds
