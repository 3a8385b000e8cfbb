# SPDX-License-Identifier: Apache-2.0
"""Checks of constructor arguments and inputs that the networks share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn as nn

__all__ = ["Levels", "check_image", "check_levels", "check_sizes", "network_spatial_size", "per_level"]


def check_sizes(spatial_dims: int, **sizes: int | Sequence[int]) -> None:
    """Raise ValueError unless ``spatial_dims`` is 2 or 3 and every size, or every entry of it, is 1 or more."""
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
    for name, value in sizes.items():
        entries = value if isinstance(value, Sequence) else [value]
        if not entries or any(entry < 1 for entry in entries):
            raise ValueError(f"{name} must be 1 or more, at every level; got {value}.")


class Levels(NamedTuple):
    """What a network has on each of its levels, from the highest resolution to the lowest."""

    attention: list[bool]
    res_blocks: list[int]
    head_channels: list[int | None]


def check_levels(
    channels: Sequence[int],
    attention_levels: Sequence[bool],
    num_res_blocks: int | Sequence[int],
    num_head_channels: int | Sequence[int] | None,
) -> Levels:
    """Arguments that say something of each level, one value a level; ValueError where their number differs."""
    return Levels(
        per_level("attention_levels", attention_levels, len(channels)),
        per_level("num_res_blocks", num_res_blocks, len(channels)),
        per_level("num_head_channels", num_head_channels, len(channels)),
    )


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


def network_spatial_size(image_size: int | Sequence[int], network: nn.Module, spatial_dims: int = 2) -> list[int]:
    """The spatial size of a network's images, checked before anything is read or trained.

    Args:
        image_size: one number for all sides, or one a side (rows, columns).
        network: with parts that state the ``divisor`` that their images' sides must have, as
            :class:`SemanticEncoder` and :class:`DiffAEUNet` do.
        spatial_dims: number of sides.

    Returns:
        One number a side.

    Raises:
        ValueError: if there is another number of sides, or one is no positive multiple of the divisors.
    """
    divisor = math.lcm(*(int(part.divisor) for part in network.modules() if hasattr(part, "divisor")))
    sides = [image_size] * spatial_dims if isinstance(image_size, int) else list(image_size)
    if len(sides) != spatial_dims or not all(isinstance(s, int) and s > 0 and s % divisor == 0 for s in sides):
        raise ValueError(
            f"image_size must be one number or a list of {spatial_dims} (height, width), multiples of {divisor} for "
            f"this network, got {image_size}."
        )
    return sides
