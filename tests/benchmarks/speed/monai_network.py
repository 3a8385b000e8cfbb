# SPDX-License-Identifier: Apache-2.0
"""MONAI's ``DiffusionModelUNet`` with as many parameters as another network, conditioned by cross attention to z_sem.

MONAI has no network that a vector modulates. The nearest to AdaGN is cross attention to z_sem as one token
(``num_class_embeds`` takes classes only). Resampling inside residual blocks and fused attention, as in ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.networks.nets import DiffusionModelUNet

from monai_diffae.networks import CrossAttentionDecoder

__all__ = ["count", "equal_monai_unet"]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def equal_monai_unet(
    parameters: int,
    spatial_dims: int,
    image_channels: int,
    z_dim: int | None,
    channels: Sequence[int],
    attention_levels: Sequence[bool],
    num_res_blocks: int,
    groups: int = 32,
) -> nn.Module:
    """The MONAI network whose number of parameters is nearest.

    Args:
        parameters: wanted number.
        spatial_dims: 2 or 3.
        image_channels: of input and output.
        z_dim: length of z_sem; ``None`` for no condition.
        channels: of the other network; those of MONAI's are these, widened or narrowed in steps of ``groups``.
        attention_levels: of the other network.
        num_res_blocks: of the other network.
        groups: of the normalisation.
    """

    def build(widths: Sequence[int], device: str) -> nn.Module:
        with torch.device(device):
            unet = DiffusionModelUNet(
                spatial_dims=spatial_dims,
                in_channels=image_channels,
                out_channels=image_channels,
                channels=widths,
                attention_levels=attention_levels,
                num_res_blocks=num_res_blocks,
                norm_num_groups=groups,
                num_head_channels=widths,
                resblock_updown=True,
                with_conditioning=z_dim is not None,
                cross_attention_dim=z_dim,
                use_flash_attention=True,
            )
        return unet if z_dim is None else CrossAttentionDecoder(unet, z_dim)

    candidates = set()
    for factor, more_at_last in itertools.product(range(8, 33), (-4, -2, 0, 2, 4)):  # in sixteenths
        factors = [factor] * (len(channels) - 1) + [factor + more_at_last]
        candidates.add(tuple(groups * max(1, round(f * c / 16 / groups)) for f, c in zip(factors, channels)))
    best = min(sorted(candidates), key=lambda widths: abs(count(build(widths, "meta")) - parameters))
    return build(best, "cpu")
