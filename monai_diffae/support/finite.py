# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

__all__ = ["check_finite"]


def check_finite(result: torch.Tensor, name: str, source: str) -> None:
    """Refuse a result that is not finite, before it is written: as an integer NaN would become 0, and look right.

    Args:
        result: of a network.
        name: what it is.
        source: file that it was computed from.

    Raises:
        ValueError: that names both.
    """
    finite = torch.isfinite(result)
    if not finite.all():
        count = result.numel() - int(finite.sum())
        raise ValueError(
            f"{source}: {count} of the {result.numel()} numbers of its {name} are NaN or infinite, and it is not "
            "written. Weights that a failed training left (ckpt_path), or precision float16, may be why."
        )
