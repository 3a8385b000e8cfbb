# SPDX-License-Identifier: Apache-2.0
"""Names of the authors' parameters (https://github.com/phizaz/diffae, ``model/``) and the architecture they tell of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["latent_network_def_of", "network_def_of", "official_key", "official_latent_key", "other_name", "shape_for"]

_CONDITIONED_BLOCK = {
    "norm_in": "in_layers.0",
    "conv_in": "in_layers.2",
    "time_proj": "emb_layers.1",
    "z_proj": "cond_emb_layers.1",
    "norm_out": "out_layers.0",
    "conv_out": "out_layers.3",
    "skip": "skip_connection",
}
_ENCODER_BLOCK = {"norm": "in_layers.0", "conv": "in_layers.2", "skip": "skip_connection"}
_ATTENTION = {"norm": "norm", "qkv": "qkv", "proj": "proj_out"}

Shape = tuple[int, ...]


def official_key(key: str, keys: Iterable[str]) -> str:
    """The authors' name of a parameter of our ``DiffusionAutoencoder``.

    Args:
        key: name in our state dict.
        keys: all names in our state dict.
    """
    part, _, name = key.partition(".")
    block, _, kind = name.rpartition(".")  # kind: weight or bias
    if part == "decoder":
        return f"{_decoder_block(block)}.{kind}"
    last = max(int(k.split(".")[2]) for k in keys if k.startswith("encoder.blocks."))
    is_attention = f"{part}.{block.rpartition('.')[0]}.qkv.weight" in set(keys)
    return f"encoder.{_encoder_block(block, last, is_attention)}.{kind}"


def _decoder_block(block: str) -> str:
    if match := re.fullmatch(r"(down_blocks|middle_block|up_blocks)\.(.+)\.(\w+)", block):
        group, place, layer = match.groups()
        if group == "down_blocks":
            i, _, j = place.partition(".")
            place = f"{int(i) + 1}.{j}"  # their first input block is our conv_in
        theirs = {"down_blocks": "input_blocks", "up_blocks": "output_blocks"}.get(group, group)
        return f"{theirs}.{place}.{(_CONDITIONED_BLOCK | _ATTENTION)[layer]}"
    return {"conv_in": "input_blocks.0.0"}.get(block, block.replace("time_embed.", "time_embed.time_embed."))


def _encoder_block(block: str, last: int, is_attention: bool) -> str:
    if match := re.fullmatch(r"blocks\.(\d+)(\.\d+)?\.(\w+)", block):
        i, j, layer = match.groups()
        layer = (_ATTENTION if is_attention else _ENCODER_BLOCK)[layer]
        j = j or ".0"  # a down-sampling block stands alone
        return f"middle_block{j}.{layer}" if int(i) == last else f"input_blocks.{int(i) + 1}{j}.{layer}"
    return {"conv_in": "input_blocks.0.0", "norm_out": "out.0", "proj_out": "out.3"}[block]


def official_latent_key(key: str, num_layers: int, keys: Iterable[str]) -> str:
    """The authors' name of a parameter of our ``LatentDenoiser``, below ``latent_net.``.

    The layer of the timestep stands in their files under two names, as ``cond_layers.1`` and as ``linear_emb``. PyTorch
    reads the former last, so it counts.

    Args:
        key: name in our state dict.
        num_layers: of the denoiser.
        keys: names in the file, below ``latent_net.``.
    """
    name = re.sub(r"^out\.", f"layers.{num_layers - 1}.linear.", key.replace("time_proj", "cond_layers.1"))
    return name if name in keys or "cond_layers.1" not in name else other_name(name)


def other_name(name: str) -> str:
    """The second name of a layer that stands in the authors' files twice; any other name as it is."""
    if ".cond_layers.1." in name:
        return name.replace(".cond_layers.1.", ".linear_emb.")
    return name.replace(".linear_emb.", ".cond_layers.1.")


def shape_for(key: str, shape: Shape) -> Shape:
    """Shape in the authors' network of our parameter ``key``: their linear maps are convolutions of size 1."""
    if key.endswith((".qkv.weight", ".proj.weight")):
        return (*shape, 1)
    return (*shape, 1, 1) if key == "encoder.proj_out.weight" else shape


def _numbers(shapes: Mapping[str, Shape], pattern: str) -> list[int]:
    """The distinct numbers that the group of ``pattern`` takes among the names, in order."""
    return sorted({int(match[1]) for name in shapes if (match := re.match(pattern, name))})


def network_def_of(
    shapes: Mapping[str, Shape], num_heads: int = 1, dropout: float = 0.1, encoder_res_blocks: int | None = None
) -> dict[str, Any]:
    """The ``network_def`` of an autoencoder with parameters of these names and shapes.

    Args:
        shapes: from the authors' names, without ``ema_model.``, to shapes.
        num_heads: attention heads, which no shape tells.
        dropout: of the denoiser.
        encoder_res_blocks: residual blocks of each level of the encoder, where it is known; widths and attention alone
            can leave a choice.

    Raises:
        ValueError: if the parameters are not those of an autoencoder of the authors.
    """
    try:
        decoder = _decoder_levels(shapes)
        encoder = _encoder_levels(
            shapes, len(decoder["num_res_blocks"]), encoder_res_blocks or decoder["num_res_blocks"][0]
        )
        in_channels = shapes["input_blocks.0.0.weight"][1]
        z_dim = shapes["encoder.out.3.weight"][0]
        time_embed_dim, time_channels = shapes["time_embed.time_embed.0.weight"]
        out_channels = shapes["out.2.weight"][0]
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"these are not the parameters of the authors' autoencoder ({error}).") from error
    if time_channels != decoder["channels"][0]:
        decoder["time_channels"] = time_channels
    for levels in (decoder, encoder):
        if num_heads != 1:
            levels["num_head_channels"] = _head_channels(levels, num_heads)
        if len(set(levels["num_res_blocks"])) == 1:
            levels["num_res_blocks"] = levels["num_res_blocks"][0]
    common = {"spatial_dims": 2, "in_channels": in_channels, "z_dim": z_dim}
    return {
        "_target_": "monai_diffae.networks.DiffusionAutoencoder",
        "encoder": {"_target_": "monai_diffae.networks.SemanticEncoder", **common, **encoder},
        "decoder": {
            "_target_": "monai_diffae.networks.DiffAEUNet",
            **common,
            "out_channels": out_channels,
            **decoder,
            "time_embed_dim": time_embed_dim,
            "dropout": dropout,
        },
    }


def _head_channels(levels: Mapping[str, list], num_heads: int) -> list[int]:
    """Channels of a head at each level; only levels with attention, and the last for the middle, have heads."""
    attended = [*levels["attention_levels"][:-1], True]
    if num_heads < 1 or any(width % num_heads for width, has in zip(levels["channels"], attended) if has):
        raise ValueError(f"{num_heads} attention heads do not divide the channels {levels['channels']}.")
    return [width // num_heads if has else width for width, has in zip(levels["channels"], attended)]


def _decoder_levels(shapes: Mapping[str, Shape]) -> dict[str, list]:
    """On the way up a level ends with an up-sampling block, which no block of the way down shows by its shape."""
    channels, blocks, attention = [], [], []
    count = 0
    places = _numbers(shapes, r"output_blocks\.(\d+)\.")
    for i in places:
        count += 1
        has_attention = f"output_blocks.{i}.1.qkv.weight" in shapes
        up = f"output_blocks.{i}.{2 if has_attention else 1}.in_layers.2.weight"
        if up in shapes or i == places[-1]:
            channels.append(shapes[f"output_blocks.{i}.0.in_layers.2.weight"][0])
            blocks.append(count - 1)
            attention.append(has_attention)
            count = 0
    return {"channels": channels[::-1], "attention_levels": attention[::-1], "num_res_blocks": blocks[::-1]}


def _encoder_levels(shapes: Mapping[str, Shape], decoder_levels: int, likely_blocks: int) -> dict[str, list]:
    """Of all layouts that fit the widths and the places of attention, the one nearest to what is likely."""
    places = _numbers(shapes, r"encoder\.input_blocks\.(\d+)\.")[1:]
    widths = [shapes[f"encoder.input_blocks.{i}.0.in_layers.2.weight"][0] for i in places]
    attention = [f"encoder.input_blocks.{i}.1.qkv.weight" in shapes for i in places]
    fitting = []
    for blocks in range(1, len(places) + 1):
        period = blocks + 1  # the last level has no down-sampling block
        if (len(places) + 1) % period:
            continue
        starts = range(0, len(places), period)
        same_width = all(len(set(widths[s : s + period])) == 1 for s in starts)
        same_attention = all(
            len(set(attention[s : s + blocks])) == 1 and not any(attention[s + blocks : s + period]) for s in starts
        )
        if same_width and same_attention:
            fitting.append((blocks, list(starts)))
    if not fitting:
        raise KeyError("encoder.input_blocks that form levels")
    blocks, starts = min(fitting, key=lambda x: (x[0] != likely_blocks, abs(len(x[1]) - decoder_levels - 1)))
    return {
        "channels": [widths[s] for s in starts],
        "attention_levels": [attention[s] for s in starts],
        "num_res_blocks": [blocks] * len(starts),
    }


def latent_network_def_of(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """The ``latent_network_def`` of a denoiser with parameters of these names (below ``latent_net.``) and shapes.

    Raises:
        ValueError: if the parameters are not those of the authors' ``MLPSkipNet``.
    """
    try:
        hidden_dim, z_dim = shapes["layers.0.linear.weight"]
        time_channels = shapes["time_embed.0.weight"][1]
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError(f"these are not the parameters of the authors' latent network ({error}).") from error
    return {
        "_target_": "monai_diffae.networks.LatentDenoiser",
        "z_dim": z_dim,
        "hidden_dim": hidden_dim,
        "num_layers": len(_numbers(shapes, r"layers\.(\d+)\.")),
        "time_channels": time_channels,
    }
