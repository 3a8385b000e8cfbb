# SPDX-License-Identifier: Apache-2.0
"""Which items belong together: one answer for splits, cross-validation and probes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch

__all__ = ["group_numbers", "group_of"]


def group_of(item: Mapping[str, Any], index: int) -> tuple[str, Hashable]:
    """What an item belongs to: its ``subject``, else its ``volume`` (of slices), else itself.

    Args:
        item: of a data list or a data set.
        index: of the item, which stands for it where it has neither.
    """
    if item.get("subject") not in (None, ""):
        return "subject", str(item["subject"])
    if item.get("volume") is not None:
        return "volume", int(item["volume"])
    return "item", index


def group_numbers(items: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """A number for each item, int64 ``(N,)``: the same for those that belong together, counted as they come up."""
    numbers: dict[tuple[str, Hashable], int] = {}
    found = [numbers.setdefault(group_of(item, index), len(numbers)) for index, item in enumerate(items)]
    return torch.tensor(found, dtype=torch.int64)
