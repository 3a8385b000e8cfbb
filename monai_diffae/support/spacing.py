# SPDX-License-Identifier: Apache-2.0
"""Some of many, evenly spaced: folders are sorted, often by class, so that the first ones would show one class."""

from __future__ import annotations

import numpy as np

__all__ = ["evenly_spaced"]


def evenly_spaced(total: int, count: int | None) -> list[int]:
    """``count`` different places in ``range(total)``, both ends included; all for ``None`` or a larger count."""
    count = total if count is None else min(count, total)
    return np.linspace(0, total - 1, count).round().astype(int).tolist()
