# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

__all__ = ["lerp", "slerp"]


def lerp(x_from: torch.Tensor, x_to: torch.Tensor, weight: float | torch.Tensor) -> torch.Tensor:
    """Straight line, for z_sem: ``(1 - weight) * x_from + weight * x_to``, any shape; tensors of weights broadcast."""
    return torch.lerp(x_from, x_to, weight)


def slerp(x_from: torch.Tensor, x_to: torch.Tensor, weight: float) -> torch.Tensor:
    """Along the great circle, for x_T, whose norm a straight line would shrink.

    ``(sin((1 - w) a) x_from + sin(w a) x_to) / sin(a)`` with a the angle between the flattened samples
    (Diffusion Autoencoders, Sec. 5.1; Shoemake 1985). Where they are parallel, or opposite, the straight line is taken.

    Args:
        x_from: shape ``(B, ...)``.
        x_to: same shape.
        weight: 0 gives ``x_from``, 1 gives ``x_to``.
    """
    # In float64, which all devices have but MPS.
    flat = [(x.cpu() if x.device.type == "mps" else x).flatten(1).double() for x in (x_from, x_to)]
    cosine = torch.nn.functional.cosine_similarity(*flat)
    angle = torch.acos(cosine.clamp(-1, 1)).reshape(-1, *(1,) * (x_from.ndim - 1))
    parallel = torch.sin(angle) < 1e-6
    sine = torch.where(parallel, 1.0, torch.sin(angle))
    share_from = torch.where(parallel, 1.0 - weight, torch.sin((1 - weight) * angle) / sine)
    share_to = torch.where(parallel, weight, torch.sin(weight * angle) / sine)
    return share_from.to(x_from) * x_from + share_to.to(x_from) * x_to
