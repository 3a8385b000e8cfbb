# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

__all__ = ["monotonic_response"]


def monotonic_response(strengths: Sequence[float], values: np.ndarray) -> dict[str, float]:
    """Whether what is seen of an attribute follows the strength of its edit.

    ``rank_correlation``: Spearman's, of strengths and values, mean over images (0 for an image whose values do not
    vary). ``monotonic``: share of images whose values rise from each strength to the next.

    Args:
        strengths: S different numbers, 2 or more.
        values: what is seen in the edits of N images, shape ``(N, S)``.

    Raises:
        ValueError: for other shapes.
    """
    if len(set(strengths)) < 2 or values.ndim != 2 or values.shape[1] != len(strengths) or not len(values):
        raise ValueError(f"Expected (N, S) values for S strengths, got {values.shape} for {list(strengths)}.")
    order = np.argsort(strengths)
    values = np.asarray(values, dtype=float)[:, order]
    steps = np.asarray(strengths, dtype=float)[order]
    correlations = [float(spearmanr(steps, row).statistic) if np.ptp(row) > 0 else 0.0 for row in values]
    rises = (np.diff(values, axis=1) > 0).all(axis=1)
    return {"rank_correlation": float(np.mean(correlations)), "monotonic": float(rises.mean())}
