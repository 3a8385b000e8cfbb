# SPDX-License-Identifier: Apache-2.0
"""Reads diffusion autoencoders that were trained with MONAI's tutorial."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn as nn
from monai.networks.nets import DiffusionModelUNet, ResNet

from monai_diffae.checkpoints.safe_reading import read_checkpoint
from monai_diffae.networks import CrossAttentionDecoder, DiffusionAutoencoder

__all__ = ["load_monai_generative_checkpoint"]

State = Mapping[str, torch.Tensor]


def load_monai_generative_checkpoint(
    path: str | os.PathLike, num_head_channels: int | Sequence[int] | None = None, norm_num_groups: int = 32
) -> DiffusionAutoencoder:
    """Read a model of MONAI's tutorial ``2d_diffusion_autoencoder``; the inferers of this package then run on it.

    The tutorial's network is torchvision's ResNet as ``semantic_encoder`` and a cross-attention ``DiffusionModelUNet``
    as ``unet``, from monai-generative or from MONAI core (the names of whose parameters differ). The encoder becomes
    MONAI's ``ResNet``, which has torchvision's parameters. monai-generative and torchvision need not be installed.

    The tutorial predicts eps with 1000 linear betas, ``InvertibleDDIMScheduler()``, on images in [0, 1].

    Args:
        path: state dict saved by ``torch.save``, plain or under ``state_dict`` or ``model``. Nothing in it is run.
        num_head_channels: as in the UNet's constructor, which no shape tells. None: as in the tutorials, which is one
            head a level for channels of 64, 128, 256 (MONAI core), and else 64 channels a head (monai-generative), or
            one head where a level has fewer.
        norm_num_groups: as in the UNet's constructor.

    Returns:
        The autoencoder in evaluation mode, on the CPU.

    Raises:
        ValueError: for a file that cannot be read safely, or that is no such model.
    """
    content = read_checkpoint(path)
    state = next((content[key] for key in ("state_dict", "model") if isinstance(content.get(key), Mapping)), content)
    parts: dict[str, dict[str, torch.Tensor]] = {"semantic_encoder": {}, "unet": {}}
    for name, value in state.items():
        part, _, rest = str(name).removeprefix("module.").partition(".")
        if part not in parts or not isinstance(value, torch.Tensor):
            raise ValueError(
                f"{os.fspath(path)!r} is no model of MONAI's tutorial: expected parameters semantic_encoder.* and "
                f"unet.*, found {name!r}."
            )
        parts[part][rest] = value.clone()
    missing = [f"{part}.*" for part, weights in parts.items() if not weights]
    if missing:
        raise ValueError(f"{os.fspath(path)!r} is no model of MONAI's tutorial: it has no {' and no '.join(missing)}.")
    try:
        encoder = _encoder(parts["semantic_encoder"])
        decoder = _decoder(parts["unet"], num_head_channels, norm_num_groups)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{os.fspath(path)!r} is no model of MONAI's tutorial, or needs another num_head_channels or "
            f"norm_num_groups: {type(error).__name__}: {error}"
        ) from error
    return DiffusionAutoencoder(encoder, decoder).eval()


def _count(state: State, pattern: str) -> int:
    """One more than the largest number that the group of ``pattern`` takes among the names."""
    return 1 + max((int(match[1]) for name in state if (match := re.match(pattern, name))), default=-1)


def _encoder(state: State) -> nn.Module:
    first = state["conv1.weight"]
    encoder = ResNet(
        "bottleneck" if "layer1.0.conv3.weight" in state else "basic",
        layers=[_count(state, rf"layer{i}\.(\d+)\.") for i in (1, 2, 3, 4)],
        block_inplanes=[len(state[f"layer{i}.0.conv1.weight"]) for i in (1, 2, 3, 4)],
        spatial_dims=first.ndim - 2,
        n_input_channels=first.shape[1],
        conv1_t_size=first.shape[2],
        conv1_t_stride=2,
        num_classes=len(state["fc.weight"]),
        bias_downsample="layer2.0.downsample.0.bias" in state,
    )
    encoder.load_state_dict(state)
    return encoder


def _tutorial_heads(channels: Sequence[int]) -> list[int]:
    """The two tutorials differ: ``[64, 128, 256]`` for those channels, and 64 for channels of 128, 256, 256."""
    if list(channels) == [64, 128, 256]:
        return list(channels)
    return [64 if width % 64 == 0 else width for width in channels]


def _decoder(state: State, num_head_channels: int | Sequence[int] | None, norm_num_groups: int) -> nn.Module:
    levels = range(_count(state, r"down_blocks\.(\d+)\."))
    channels = [len(state[f"down_blocks.{i}.resnets.0.conv1.conv.weight"]) for i in levels]
    keys_of_tokens = [x for name, x in state.items() if name.endswith("attn2.to_k.weight")]
    if not keys_of_tokens:
        raise ValueError("the unet has no cross-attention")
    token_dim = keys_of_tokens[0].shape[1]
    unet = DiffusionModelUNet(
        spatial_dims=state["conv_in.conv.weight"].ndim - 2,
        in_channels=state["conv_in.conv.weight"].shape[1],
        out_channels=len(state["out.2.conv.weight"]),
        channels=channels,
        num_res_blocks=[_count(state, rf"down_blocks\.{i}\.resnets\.(\d+)\.") for i in levels],
        attention_levels=[f"down_blocks.{i}.attentions.0.norm.weight" in state for i in levels],
        num_head_channels=_tutorial_heads(channels) if num_head_channels is None else num_head_channels,
        norm_num_groups=norm_num_groups,
        resblock_updown="down_blocks.0.downsampler.norm1.weight" in state,
        with_conditioning=True,
        transformer_num_layers=_count(state, r"middle_block\.attention\.transformer_blocks\.(\d+)\."),
        cross_attention_dim=token_dim,
    )
    if any(".to_out.0." in name for name in state):  # monai-generative's names
        unet.load_old_state_dict(dict(state))
    else:
        unet.load_state_dict(state)
    return CrossAttentionDecoder(unet, token_dim)
