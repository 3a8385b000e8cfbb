# SPDX-License-Identifier: Apache-2.0
"""What a linear model reads off features, on subjects that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_diffae.metrics.scores import KINDS, bootstrap_intervals, infer_kind, score_predictions
from monai_diffae.support.randomness import derive_seed

__all__ = ["LabelledFeatures", "Probe", "linear_probe"]

_FOLDS = 5
_INNER_FOLDS = 3  # to choose the regularisation
_TRIED_SPLITS = 10
_LOGISTIC = {"logisticregression__C": np.logspace(-4, 1, 6)}
_RIDGE = {"ridge__alpha": np.logspace(-1, 4, 6)}


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of N images with one label each.

    Args:
        features: shape ``(N, D)``.
        labels: shape ``(N,)``, NaN where there is none.
        groups: the subject of each image, shape ``(N,)``.

    Raises:
        ValueError: for other shapes.
    """

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or not len(self.features) == len(self.labels) == len(self.groups):
            raise ValueError(
                f"Expected features (N, D) and N labels and groups, got {self.features.shape}, {self.labels.shape} "
                f"and {self.groups.shape}."
            )

    def known(self) -> LabelledFeatures:
        """Those with a label."""
        return self.take(np.flatnonzero(~np.isnan(self.labels)))

    def take(self, indices: np.ndarray) -> LabelledFeatures:
        """Some of them."""
        return LabelledFeatures(self.features[indices], self.labels[indices], self.groups[indices])


@dataclass(frozen=True)
class Probe:
    """Predictions of a linear model for images whose subjects it has not seen.

    Args:
        kind: of the label.
        labels: shape ``(N,)``.
        predictions: of :func:`~monai_diffae.metrics.score_predictions`.
        groups: the subject of each image.
        num_train: images with a label that a model was fitted to, on average over the folds.
    """

    kind: str
    labels: np.ndarray
    predictions: np.ndarray
    groups: np.ndarray
    num_train: float

    def scores(self) -> dict[str, float]:
        """The measures of :func:`~monai_diffae.metrics.score_predictions` over all images."""
        return score_predictions(self.kind, self.labels, self.predictions)

    def intervals(self, num_draws: int = 200, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Their 95 % intervals by a bootstrap over subjects."""
        return bootstrap_intervals(
            lambda drawn: score_predictions(self.kind, self.labels[drawn], self.predictions[drawn]),
            self.groups,
            num_draws,
            seed,
        )


def linear_probe(
    data: LabelledFeatures,
    train: LabelledFeatures | None = None,
    kind: str | None = None,
    share: float = 1.0,
    seed: int = 0,
) -> Probe:
    """Fit a linear model on standardised features and apply it to subjects that it has not seen.

    Logistic regression (balanced classes if ``binary``) or ridge regression; its strength of regularisation is chosen
    by cross-validation over subjects of the training part.

    Args:
        data: what is predicted.
        train: other subjects to fit to. ``None``: cross-validation over the subjects of ``data``, in 5 folds or as many
            as there are subjects (of each class).
        kind: ``binary``, ``classes`` or ``continuous``; ``None`` to infer it (binary or continuous).
        share: of the training subjects whose labels may be used, in (0, 1].
        seed: of the draw of those subjects.

    Raises:
        ValueError: for another share or kind, labels that do not vary, binary ones that are not 0 and 1, too few
            subjects to fit to, or subjects that cannot be parted so that all classes are on both sides.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}.")
    data = data.known()
    train = None if train is None else train.known()
    basis = (data if train is None else train).labels
    kind = infer_kind(basis) if kind is None else kind
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    if not len(data.labels) or len(np.unique(basis)) < 2:
        raise ValueError(f"A probe needs labels of two values; got {len(basis)} labels of {np.unique(basis)[:5]}.")
    if kind == "binary" and not np.isin(np.concatenate([basis, data.labels]), (0, 1)).all():
        raise ValueError(f"Binary labels are 0 and 1, got {np.unique(basis)[:5]}; or ask for classes.")
    if train is not None:
        model, count = _fit(train, kind, share, seed)
        return Probe(kind, data.labels, _predict(model, kind, data.features), data.groups, count)
    predictions, counts = np.empty(len(data.labels)), []
    for fold, (inside, outside) in enumerate(_splits(data, kind, _FOLDS)):
        model, count = _fit(data.take(inside), kind, share, derive_seed(seed, fold, 1))
        predictions[outside] = _predict(model, kind, data.features[outside])
        counts.append(count)
    return Probe(kind, data.labels, predictions, data.groups, float(np.mean(counts)))


def _splits(data: LabelledFeatures, kind: str, num_folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds that keep subjects together and, of classes, have all of them on both sides."""
    most = _most_folds(data, kind)
    if most < 2:
        raise ValueError(f"A probe needs two subjects (of each class) to cross-validate; got {most}.")
    kind_of_folds = GroupKFold if kind == "continuous" else StratifiedGroupKFold
    for folds in range(min(num_folds, most), 1, -1):
        for random_state in range(1 if kind == "continuous" else _TRIED_SPLITS):  # subjects may hold several classes
            splitter = kind_of_folds(folds, shuffle=True, random_state=random_state)  # of a cyclic order as well
            splits = list(splitter.split(data.features, data.labels, data.groups))
            if kind == "continuous" or all(_has_all(data.labels, side) for split in splits for side in split):
                return splits
    raise ValueError("The subjects cannot be parted so that all classes are on both sides; give more subjects.")


def _has_all(labels: np.ndarray, places: np.ndarray) -> bool:
    return len(np.unique(labels[places])) == len(np.unique(labels))


def _most_folds(data: LabelledFeatures, kind: str) -> int:
    if kind == "continuous":
        return len(np.unique(data.groups))
    return min(len(np.unique(data.groups[data.labels == value])) for value in np.unique(data.labels))


def _fit(data: LabelledFeatures, kind: str, share: float, seed: int) -> tuple[BaseEstimator, int]:
    subjects = np.unique(data.groups)
    if share < 1:
        drawn = np.random.default_rng(seed).permutation(subjects)[: max(1, round(share * len(subjects)))]
        data = data.take(np.flatnonzero(np.isin(data.groups, drawn)))
    if len(np.unique(data.labels)) < 2:
        raise ValueError(f"The labels of {len(np.unique(data.groups))} subjects have one value; give more.")
    model: BaseEstimator
    grid: dict[str, Any]
    if kind == "continuous":
        model, grid, scoring = make_pipeline(StandardScaler(), Ridge()), _RIDGE, "r2"
    else:
        weight = "balanced" if kind == "binary" else None
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight=weight, max_iter=2000, tol=1e-3))
        grid, scoring = _LOGISTIC, "roc_auc" if kind == "binary" else "accuracy"
    try:
        splits = _splits(data, kind, _INNER_FOLDS)
    except ValueError:  # nothing to choose by: the middle of the grid
        (name, values), *_ = grid.items()
        model = clone(model).set_params(**{name: values[len(values) // 2]})
        return model.fit(data.features, data.labels), len(data.labels)
    search = GridSearchCV(model, grid, scoring=scoring, cv=splits)
    return search.fit(data.features, data.labels).best_estimator_, len(data.labels)


def _predict(model: BaseEstimator, kind: str, features: np.ndarray) -> np.ndarray:
    return model.decision_function(features) if kind == "binary" else model.predict(features)
