# SPDX-License-Identifier: Apache-2.0
"""The authors' autoencoder computed their plain way, with the weights of ours: what ours is measured against.

Not their code: written from a description of it (see ``plain_blocks.py``). That both compute the same is held by
tests/benchmarks/test_plain_network.py, on numbers that the authors' own code has computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding

from monai_diffae.checkpoints.official.keys import official_key, shape_for

from .plain_blocks import PlainAttention, PlainBlock, PlainGroupNorm, PlainSequential

__all__ = ["PlainAutoencoder", "plain_copy"]


class _TimeEmbedding(nn.Module):
    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.time_embed = nn.Sequential(
            nn.Linear(channels, out_channels), nn.SiLU(), nn.Linear(out_channels, out_channels)
        )

    def forward(self, timesteps: torch.Tensor) -> torch.Tensor:
        return self.time_embed(get_timestep_embedding(timesteps, self.time_embed[0].in_features))


def _heads(channels: int, head_channels: int | Sequence[int] | None, level: int) -> int:
    width = head_channels[level] if isinstance(head_channels, Sequence) else head_channels
    return 1 if width is None else channels // width


class _PlainEncoder(nn.Module):
    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        groups, channels = settings.get("norm_num_groups", 32), settings["channels"]
        heads = settings.get("num_head_channels")
        width = channels[0]
        blocks = [PlainSequential(nn.Conv2d(settings["in_channels"], width, 3, padding=1))]
        for level, out in enumerate(channels):
            for _ in range(settings.get("num_res_blocks", 2)):
                parts = [PlainBlock(width, out, groups)]
                width = out
                if settings["attention_levels"][level]:
                    parts.append(PlainAttention(width, _heads(width, heads, level), groups))
                blocks.append(PlainSequential(*parts))
            if level < len(channels) - 1:
                blocks.append(PlainSequential(PlainBlock(width, width, groups, resample="down")))
        self.input_blocks = nn.ModuleList(blocks)
        self.middle_block = PlainSequential(
            PlainBlock(width, width, groups),
            PlainAttention(width, _heads(width, heads, -1), groups),
            PlainBlock(width, width, groups),
        )
        self.out = nn.Sequential(
            PlainGroupNorm(width, groups),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d((1, 1)),
            nn.Conv2d(width, settings["z_dim"], 1),
            nn.Flatten(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.input_blocks:
            x = block(x)
        return self.out(self.middle_block(x))


class PlainAutoencoder(nn.Module):
    """UNet and encoder in one module, as in the authors' files; called as our ``DiffusionAutoencoder`` is.

    Args:
        encoder: arguments of our ``SemanticEncoder``.
        decoder: arguments of our ``DiffAEUNet``. In both, ``num_res_blocks`` is one number, and ``patch_size`` is 1:
            the authors' networks have no other.
    """

    def __init__(self, encoder: Mapping[str, Any], decoder: Mapping[str, Any]) -> None:
        super().__init__()
        for settings in (encoder, decoder):
            if settings.get("patch_size", 1) != 1 or settings["spatial_dims"] != 2:
                raise ValueError("The authors' networks are 2D and have no patches: patch_size must be 1.")
        channels, attention = decoder["channels"], decoder["attention_levels"]
        groups, heads = decoder.get("norm_num_groups", 32), decoder.get("num_head_channels")
        res_blocks, time_dim = decoder.get("num_res_blocks", 2), decoder.get("time_embed_dim", 4 * channels[0])
        conditions = {"time_dim": time_dim, "z_dim": decoder["z_dim"], "dropout": decoder.get("dropout", 0.0)}

        def attend(width: int, level: int) -> PlainAttention:
            return PlainAttention(width, _heads(width, heads, level), groups)

        self.time_embed = _TimeEmbedding(decoder.get("time_channels", channels[0]), time_dim)
        width, skips = channels[0], [channels[0]]
        blocks = [PlainSequential(nn.Conv2d(decoder["in_channels"], width, 3, padding=1))]
        for level, out in enumerate(channels):
            for _ in range(res_blocks):
                parts: list[nn.Module] = [PlainBlock(width, out, groups, **conditions)]
                width = out
                if attention[level]:
                    parts.append(attend(width, level))
                blocks.append(PlainSequential(*parts))
                skips.append(width)
            if level < len(channels) - 1:
                blocks.append(PlainSequential(PlainBlock(width, width, groups, resample="down", **conditions)))
                skips.append(width)
        self.input_blocks = nn.ModuleList(blocks)
        self.middle_block = PlainSequential(
            PlainBlock(width, width, groups, **conditions),
            attend(width, -1),
            PlainBlock(width, width, groups, **conditions),
        )
        blocks = []
        for level in reversed(range(len(channels))):
            for i in range(res_blocks + 1):
                parts = [PlainBlock(width + skips.pop(), channels[level], groups, **conditions)]
                width = channels[level]
                if attention[level]:
                    parts.append(attend(width, level))
                if level and i == res_blocks:
                    parts.append(PlainBlock(width, width, groups, resample="up", **conditions))
                blocks.append(PlainSequential(*parts))
        self.output_blocks = nn.ModuleList(blocks)
        self.out = nn.Sequential(
            PlainGroupNorm(width, groups), nn.SiLU(), nn.Conv2d(width, decoder["out_channels"], 3, padding=1)
        )
        self.encoder = _PlainEncoder(encoder)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        return self.encoder(image)

    def forward(self, x, timesteps, context=None, image=None) -> torch.Tensor:
        """As :class:`~monai_diffae.networks.DiffusionAutoencoder`'s."""
        z_sem = self.encode(image) if context is None else context
        time = self.time_embed(timesteps.expand(len(x)))  # one a sample
        skips = []
        for block in self.input_blocks:
            x = block(x, time, z_sem)
            skips.append(x)
        x = self.middle_block(x, time, z_sem)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), time, z_sem)
        return self.out(x)


def plain_copy(network: nn.Module, encoder: Mapping[str, Any], decoder: Mapping[str, Any]) -> PlainAutoencoder:
    """The authors' network with the weights of ours, in the same mode, on the same device.

    Args:
        network: a ``DiffusionAutoencoder`` that was made with the following arguments.
        encoder: arguments of its encoder.
        decoder: arguments of its decoder.
    """
    state = network.state_dict()
    theirs = {
        official_key(key, state): value.reshape(shape_for(key, tuple(value.shape))) for key, value in state.items()
    }
    with torch.device("meta"):
        plain = PlainAutoencoder(encoder, decoder)
    plain.load_state_dict({key: value.clone().contiguous() for key, value in theirs.items()}, assign=True)
    return plain.train(network.training).requires_grad_(True)
