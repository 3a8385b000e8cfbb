# SPDX-License-Identifier: Apache-2.0
"""The way of a code to the mean code of a class."""

from __future__ import annotations

from numbers import Real

import torch

__all__ = ["step_to_class_mean"]


def step_to_class_mean(z_normalized: torch.Tensor, class_means: torch.Tensor, share: float) -> torch.Tensor:
    """A share of the difference between a class mean and each code, so that the code's own part shrinks by as much.

    Args:
        z_normalized: shape ``(B, D)``.
        class_means: of those without and of those with the attribute, normalised, shape ``(2, D)``.
        share: 0 to 1 towards those with the attribute, 0 to -1 towards those without.

    Returns:
        To be added to the codes, shape ``(B, D)``.

    Raises:
        ValueError: for another share.
    """
    if not isinstance(share, Real) or isinstance(share, bool) or not -1 <= share <= 1:
        raise ValueError(
            "A share of the way to a class mean is a number from -1 (at the mean of those without the attribute) to 1 "
            f"(at the mean of those with it); got {share!r}."
        )
    return abs(share) * (class_means[int(share > 0)] - z_normalized)
