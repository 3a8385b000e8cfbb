# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LogisticRegression

__all__ = ["ProportionalOdds"]

# Value of the columns that carry the thresholds: so large that the penalty on their coefficients does not count.
_THRESHOLD_SCALE = 100.0


class ProportionalOdds(RegressorMixin, BaseEstimator):
    """Ordinal logistic regression: one direction w for all grades, and a threshold between each and the next.

    ``P(grade > g_k | x) = sigmoid(w . x - theta_k)``, fitted as one logistic regression on a data set that has each
    sample once for every threshold (the label: is the grade above it?). The thresholds come out ascending.

    The fitted score is ``w . x`` in the unit of the grades: the straight line through grades over ``w . x`` by least
    squares. Attributes as of scikit-learn: ``coef_`` ``(D,)``, ``intercept_``, ``grades_`` ``(K,)``, and
    ``thresholds_`` ``(K - 1,)``, the scores at which the next grade becomes likelier than not.

    References:
        McCullagh, Regression Models for Ordinal Data, 1980 (the model); Li and Lin, Ordinal Regression by Extended
        Binary Classification, NIPS 2006 (the fit, and the proof that the thresholds are ordered).

    Args:
        C: inverse strength of the penalty on w; the thresholds are not penalised.
    """

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    def fit(self, X: np.ndarray, y: np.ndarray) -> ProportionalOdds:
        """``X``: ``(N, D)``; ``y``: ``(N,)`` with two grades or more."""
        self.grades_ = np.unique(y)
        num_thresholds = len(self.grades_) - 1
        above = np.asarray(y)[:, None] > self.grades_[:-1]
        which = np.tile(-_THRESHOLD_SCALE * np.eye(num_thresholds), (len(X), 1))
        extended = np.hstack([np.repeat(X, num_thresholds, axis=0), which])
        # Newton's method does not mind the unequal scales of the columns.
        classifier = LogisticRegression(C=self.C, fit_intercept=False, solver="newton-cholesky")
        coefficients = classifier.fit(extended, above.ravel()).coef_[0]
        w, thresholds = np.split(coefficients, [X.shape[1]])
        # The slope is positive: at the optimum w . w = C * sum of (above - P(above)) * w . x.
        slope, intercept = np.polyfit(X @ w, y, 1)
        self.coef_ = slope * w
        self.intercept_ = intercept
        self.thresholds_ = slope * _THRESHOLD_SCALE * thresholds + intercept
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Scores in the unit of the grades, ``(N,)``; not rounded to one of them."""
        return X @ self.coef_ + self.intercept_
