# SPDX-License-Identifier: Apache-2.0
"""Checks of constructor arguments and inputs that the networks share."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["check_image", "check_sizes", "per_level"]


def check_sizes(spatial_dims: int, **sizes: int | Sequence[int]) -> None:
    """Raise ValueError unless ``spatial_dims`` is 2 or 3 and every size, or every entry of it, is 1 or more."""
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
    for name, value in sizes.items():
        entries = value if isinstance(value, Sequence) else [value]
        if not entries or any(entry < 1 for entry in entries):
            raise ValueError(f"{name} must be 1 or more, at every level; got {value}.")


def per_level(name: str, value: int | bool | Sequence | None, num_levels: int) -> list:
    """One value a level: a single value is repeated, a sequence must have ``num_levels`` entries (ValueError)."""
    if value is None or isinstance(value, (int, bool)):
        return [value] * num_levels
    if len(value) != num_levels:
        raise ValueError(f"{name} must have one entry for each of the {num_levels} levels of channels, got {value}.")
    return list(value)


def check_image(x: torch.Tensor, spatial_dims: int, in_channels: int, divisor: int) -> None:
    """Raise ValueError unless ``x`` is ``(B, in_channels, *spatial)`` with sides that are multiples of ``divisor``."""
    if x.dim() != spatial_dims + 2 or x.shape[1] != in_channels:
        raise ValueError(
            f"Expected images of shape (batch, {in_channels}, and {spatial_dims} spatial sizes), got {list(x.shape)}."
        )
    for size in x.shape[2:]:
        if size % divisor != 0:
            raise ValueError(
                f"Every spatial size must be a multiple of {divisor} (patch_size times 2 for every level but the "
                f"last), got {list(x.shape[2:])}; pad, crop or resize the images."
            )
