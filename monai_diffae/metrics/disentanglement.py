# SPDX-License-Identifier: Apache-2.0
"""Whether single numbers of z_sem stand for single attributes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.linear_model import Lasso, LassoCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

__all__ = ["dci", "dci_from_importance", "labels_that_vary_together", "linear_importance", "total_auroc_difference"]

_FOLDS = 5
_CAPTURED = 0.75  # AUROC of a single number from which it counts as holding an attribute


def linear_importance(
    features: np.ndarray, labels: Mapping[str, np.ndarray], groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Importance of each feature for each attribute: absolute weights of a lasso on standardised features, whose
    strength is chosen by cross-validation; and how well that does.

    Args:
        features: shape ``(N, D)``.
        labels: K attributes, shape ``(N,)`` each, without NaN; 0 and 1 are numbers like others.
        groups: the subject of each image, shape ``(N,)``, whose images stay together; ``None`` for one each.

    Returns:
        Importances ``(D, K)``, in standard deviations of the label, and R^2 on subjects that were left out, ``(K,)``.

    Raises:
        ValueError: for fewer than three subjects.
    """
    groups = np.arange(len(features)) if groups is None else groups
    num_folds = min(_FOLDS, len(np.unique(groups)))
    if num_folds < 3:
        raise ValueError(f"It needs three subjects or more, got {num_folds}.")
    z = StandardScaler().fit_transform(features)
    splits = list(GroupKFold(num_folds, shuffle=True, random_state=0).split(z, groups=groups))
    importances, informativeness = [], []
    for values in labels.values():
        model = LassoCV(alphas=20, tol=1e-3, max_iter=5000, cv=splits).fit(z, values)
        importances.append(np.abs(model.coef_) / values.std())
        left_out = cross_val_predict(Lasso(model.alpha_, tol=1e-3, max_iter=5000), z, values, cv=splits)
        informativeness.append(r2_score(values, left_out))
    return np.stack(importances, axis=1), np.array(informativeness)


def dci_from_importance(importance: np.ndarray) -> dict[str, float]:
    """Disentanglement and completeness from importances R of D features for K attributes.

    Disentanglement of feature i: ``1 - H_K(R_i / sum_k R_ik)``, entropy to the base K, and their mean weighted by
    ``sum_k R_ik``: 1 if every feature serves one attribute. Completeness of attribute k:
    ``1 - H_D(R_k / sum_i R_ik)``, to the base D, and their mean weighted likewise: 1 if one feature holds it.

    References:
        Eastwood and Williams, A Framework for the Quantitative Evaluation of Disentangled Representations, ICLR 2018;
        the weights of the attributes are one each there where all have equal importance.

    Args:
        importance: not negative, shape ``(D, K)`` with D and K of 2 or more.

    Raises:
        ValueError: for another shape, or importances that are all 0.
    """
    if importance.ndim != 2 or min(importance.shape) < 2 or not importance.sum() > 0:
        raise ValueError(f"Expected importances (D, K), D and K of 2 or more, not all 0; got {importance.shape}.")

    def one_minus_entropy(rows: np.ndarray) -> float:
        totals = rows.sum(axis=1)
        used = totals > 0
        p = rows[used] / totals[used, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.where(p > 0, p * np.log(p), 0.0).sum(axis=1) / np.log(rows.shape[1])
        return float(np.average(1 - entropy, weights=totals[used]))

    return {"disentanglement": one_minus_entropy(importance), "completeness": one_minus_entropy(importance.T)}


def dci(features: np.ndarray, labels: Mapping[str, np.ndarray], groups: np.ndarray | None = None) -> dict[str, float]:
    """Disentanglement, completeness and informativeness (mean of :func:`linear_importance`'s second result) of features
    ``(N, D)`` for two attributes or more, ``(N,)`` each.

    Raises:
        ValueError: as of :func:`linear_importance` and :func:`dci_from_importance`: of labels that no feature tells all
            importances are 0.
    """
    importance, informativeness = linear_importance(features, labels, groups)
    return dci_from_importance(importance) | {"informativeness": float(informativeness.mean())}


def total_auroc_difference(features: np.ndarray, labels: Mapping[str, np.ndarray]) -> dict[str, float]:
    """TAD: for each binary attribute that a single feature holds (AUROC of 0.75 or more, in either direction), the
    highest AUROC of a single feature minus the second highest; their sum, and the number of such attributes.

    References:
        Yeats et al., NashAE: Disentangling Representations through Adversarial Covariance Minimization, ECCV 2022.
        They leave out attributes that others imply; here the caller chooses.

    Args:
        features: shape ``(N, D)``, D of 2 or more.
        labels: 0 or 1, shape ``(N,)`` each.

    Raises:
        ValueError: for fewer features, or labels that are not 0 and 1, both of them present.
    """
    if features.ndim != 2 or features.shape[1] < 2:
        raise ValueError(f"Expected features (N, D) with D of 2 or more, got {features.shape}.")
    total, captured = 0.0, 0
    for name, values in labels.items():
        if set(np.unique(values)) != {0.0, 1.0}:
            raise ValueError(f"Attribute {name!r} needs labels of 0 and 1, both of them present.")
        aurocs = np.array([roc_auc_score(values, feature) for feature in features.T])
        second, first = np.sort(np.maximum(aurocs, 1 - aurocs))[-2:]
        if first >= _CAPTURED:
            total, captured = total + first - second, captured + 1
    return {"tad": float(total), "captured": float(captured)}


def labels_that_vary_together(labels: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Labels that can be compared over the same images, although some are missing.

    Where all are known one may be the same everywhere: of a lesion on the left, which is not known where there is one
    on the right, and the reverse, no image with a lesion has both. So labels are left out, one after the other, as long
    as more vary without them; of several the one that leaves the most images.

    Args:
        labels: by attribute, shape ``(N,)``, NaN where not known.

    Returns:
        Those that vary, with their values for the chosen images, and whether an image is chosen, shape ``(N,)``.
    """
    names = list(labels)
    count = len(next(iter(labels.values()), ()))

    def chosen(among: list[str]) -> np.ndarray:
        return np.logical_and.reduce([~np.isnan(labels[name]) for name in among], axis=0) & np.ones(count, dtype=bool)

    def varying(among: list[str]) -> list[str]:
        known = chosen(among)
        return [name for name in among if len(np.unique(labels[name][known])) > 1]

    while len(names) > 1:
        fewer = [[name for name in names if name != left_out] for left_out in names]
        best = max(fewer, key=lambda among: (len(varying(among)), int(chosen(among).sum())))
        if len(varying(best)) <= len(varying(names)):
            break
        names = best
    known = chosen(names)
    return {name: labels[name][known] for name in varying(names)}, known
