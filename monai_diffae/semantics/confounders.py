# SPDX-License-Identifier: Apache-2.0
"""What goes with an attribute by way of something else, taken out of the direction to edit along."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.preprocessing import SplineTransformer

__all__ = ["adjusted_pattern"]

_BASIS = {"n_knots": 6, "degree": 3}  # curves with a few bends, as of an area over the slices of a volume


def adjusted_pattern(
    name: str, z: np.ndarray, y: np.ndarray, confounders: Mapping[str, np.ndarray], weight: np.ndarray
) -> np.ndarray:
    """Partial covariance of codes and an attribute given confounders: what is left of both beside a smooth function of
    each confounder (cubic splines, added up) is compared.

    The area of an organ changes over the slices of a volume, and so does all else in them; the covariance of codes and
    area is mostly that of codes and place, so that an edit along it moves to another slice. Given the place, it is that
    of slices at one place with more and less of the organ. Labels and not scores are compared: the score of a code that
    tells the place is a function of the place, too.

    References:
        Snoek et al., How to control for confounds in decoding analyses of neuroimaging data, NeuroImage 184, 2019,
        https://doi.org/10.1016/j.neuroimage.2018.09.074: confound regression.

    Args:
        name: of the attribute, for the messages.
        z: normalised codes, shape ``(N, D)``.
        y: labels, shape ``(N,)``.
        confounders: by name, each of shape ``(N,)``; codes for which one is NaN are left out.
        weight: of the attribute's model, shape ``(D,)``.

    Returns:
        Shape ``(D,)``.

    Raises:
        ValueError: for a confounder that is not known or does not vary, for fewer codes than the splines have numbers,
            and if nothing of the attribute is left.
    """
    values = np.stack(list(confounders.values()), axis=1)
    known = np.isfinite(values).all(axis=1)
    z, y, values = z[known], y[known], values[known]
    num_splines = len(confounders) * (_BASIS["n_knots"] + _BASIS["degree"] - 1)
    if len(y) <= num_splines:
        raise ValueError(
            f"{len(y)} codes have a label of {name!r} and all of its confounders {list(confounders)}; more than "
            f"{num_splines} are needed. Leave out confounders, or give labels."
        )
    if same := [other for other, column in zip(confounders, values.T) if column.min() == column.max()]:
        raise ValueError(f"The confounder {same[0]!r} of {name!r} has one value only; leave it out.")
    basis = SplineTransformer(**_BASIS).fit_transform(values)  # a constant is among its sums
    both = np.column_stack([z, y])
    left = both - basis @ np.linalg.lstsq(basis, both, rcond=None)[0]
    pattern = left[:, -1] @ left[:, :-1] / (len(y) - 1)
    spread = left[:, -1].std()
    if spread < 1e-6 * y.std() or not weight @ pattern > 1e-6 * np.linalg.norm(weight) * np.linalg.norm(pattern):
        raise ValueError(f"Nothing is left of {name!r} that {list(confounders)} do not tell; leave out confounders.")
    return pattern
