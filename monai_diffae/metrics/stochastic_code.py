# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

__all__ = ["x_T_statistics"]


def x_T_statistics(x_T: torch.Tensor) -> dict[str, torch.Tensor]:
    """How near a stochastic code is to the white noise that decoding was trained to start from, which has mean 0,
    variance 1, excess kurtosis 0 and no correlation of neighbours.

    With c = x - mean(x) over the values of one image: variance ``mean(c^2)``; excess kurtosis
    ``mean(c^4) / variance^2 - 3``; correlation of neighbours, the mean over the spatial axes of
    ``mean(c_p c_q) / variance`` over pairs p, q that lie side by side along the axis.

    Args:
        x_T: shape ``(B, C, *spatial)``, sides of 2 or more.

    Returns:
        ``mean``, ``variance``, ``excess_kurtosis`` and ``neighbour_correlation``, float64 of shape ``(B,)``.
    """
    mean = x_T.double().flatten(1).mean(dim=1)
    field = x_T.double() - mean.reshape(-1, *[1] * (x_T.ndim - 1))
    centred = field.flatten(1)
    variance = centred.square().mean(dim=1)
    products = [
        (field.narrow(axis, 1, size - 1) * field.narrow(axis, 0, size - 1)).flatten(1).mean(dim=1)
        for axis, size in enumerate(x_T.shape)
        if axis >= 2
    ]
    return {
        "mean": mean,
        "variance": variance,
        "excess_kurtosis": centred.pow(4).mean(dim=1) / variance.square() - 3,
        "neighbour_correlation": torch.stack(products).mean(dim=0) / variance,
    }
