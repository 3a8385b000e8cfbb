# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn as nn
from monai.bundle import ConfigParser
from tqdm import tqdm

from monai_diffae.checkpoints.official.celeba import CELEBA_ATTRIBUTES
from monai_diffae.checkpoints.official.keys import (
    latent_network_def_of,
    network_def_of,
    official_key,
    official_latent_key,
    shape_for,
)
from monai_diffae.checkpoints.safe_reading import read_checkpoint
from monai_diffae.semantics import AttributeDirections, LatentStatistics

__all__ = ["OfficialCheckpoint", "load_official_checkpoint"]

# Settings of the authors' code that change the arithmetic: the values that our networks and scheduler compute.
_SUPPORTED = {
    "beatgans_model_mean_type": ("eps",),
    "latent_model_mean_type": ("eps",),
    "beta_scheduler": ("linear",),
    "net_resblock_updown": (True,),
    "net_enc_pool": ("adaptivenonzero",),
    "net_enc_tanh": (False,),
    "net_beatgans_use_mid_attn": (True,),
    "net_beatgans_resnet_condition_scale_bias": (1,),
    "net_autoenc_stochastic": (False,),
    "net_latent_activation": ("silu",),
    "net_latent_condition_2x": (False,),
    "net_latent_last_act": ("none",),
    "net_latent_net_last_act": ("none",),
    "net_latent_residual": (False,),
    "net_latent_time_last_act": (False,),
}
_SUPPORTED_WITH_LATENT = {"net_latent_condition_bias": (1,), "net_latent_use_norm": (True,)}


@dataclass
class OfficialCheckpoint:
    """What a file of the authors holds; None for what it does not.

    Attributes:
        autoencoder: a :class:`~monai_diffae.networks.DiffusionAutoencoder` in evaluation mode, on the CPU.
        latent_denoiser: a :class:`~monai_diffae.networks.LatentDenoiser` in evaluation mode, on the CPU.
        statistics: of z_sem.
        attributes: the linear classifiers as directions.
        config: the file's networks and schedulers as a bundle configuration: ``network_def``, ``scheduler``,
            ``latent_network_def``, ``latent_scheduler`` and the ids they refer to, as far as they were found.
        hyper_parameters: the authors' configuration as it stands in the file; empty if there is none.
        used: names in the file whose values are in this object.
        left_out: all other names.
    """

    autoencoder: nn.Module | None = None
    latent_denoiser: nn.Module | None = None
    statistics: LatentStatistics | None = None
    attributes: AttributeDirections | None = None
    config: dict[str, Any] = field(default_factory=dict)
    hyper_parameters: dict[str, Any] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def load_official_checkpoint(
    path: str | os.PathLike, raw: bool = False, num_heads: int | None = None, verbose: bool = False
) -> OfficialCheckpoint:
    """Read an autoencoder's or a classifier's ``last.ckpt``, or a ``latent.pkl``.

    The architecture is derived from names and shapes; attention heads, dropout, schedules and image size, which those
    do not tell, come from the file's ``hyper_parameters``.

    Args:
        path: the file. Nothing in it is run, see :func:`~monai_diffae.checkpoints.safe_reading.read_checkpoint`.
        raw: take the weights of the last step instead of their moving average (EMA).
        num_heads: attention heads, for a file without ``hyper_parameters``; 1 if None, as in the paper.
        verbose: show a progress bar.

    Returns:
        The content as our objects, float32 copies that do not depend on the file.

    Raises:
        ValueError: for a file that cannot be read safely, that is not one of the authors', or whose settings our
            networks do not compute.

    Differs from the official implementation: classifier directions are the averaged weights (the authors' notebook
    edits with the raw ones; ``raw=True`` gives those).
    """
    content = read_checkpoint(path)
    state = content.get("state_dict", content if "conds_mean" in content else None)
    if not isinstance(state, Mapping):
        raise ValueError(
            f"{os.fspath(path)!r} is none of the authors' files: it has neither 'state_dict' nor 'conds_mean', but "
            f"{sorted(map(str, content))[:10]}."
        )
    at = "state_dict." if "state_dict" in content else ""
    result = OfficialCheckpoint(hyper_parameters=dict(content.get("hyper_parameters") or {}))
    tensors = {f"{at}{name}": value for name, value in state.items() if isinstance(value, torch.Tensor)}
    other = ("ema_model.", "ema_classifier.") if raw else ("model.", "classifier.")
    total = sum(not name.removeprefix(at).startswith(other) for name in tensors)
    progress = tqdm(total=total, desc=os.path.basename(path), unit="tensor", disable=not verbose, leave=False)

    def take(name: str) -> torch.Tensor:
        """A copy of a tensor of the file, which counts as used."""
        value = tensors[at + name].detach().to(torch.float32, copy=True)
        result.used.append(at + name)
        progress.update()
        return value

    def has(name: str) -> bool:
        return at + name in tensors

    with progress:
        if has("conds_mean") and has("conds_std"):
            result.statistics = LatentStatistics(take("conds_mean").flatten(), take("conds_std").flatten())
        if has("classifier.weight") or has("ema_classifier.weight"):
            prefix = "classifier." if raw else "ema_classifier."
            result.attributes = _attributes(path, prefix, has, take, result.statistics)
        if any(name.startswith((f"{at}model.", f"{at}ema_model.")) for name in tensors):
            prefix = "model." if raw else "ema_model."
            weights = {
                name.removeprefix(at + prefix): tuple(value.shape)
                for name, value in tensors.items()
                if name.startswith(at + prefix)
            }
            if not weights:
                raise ValueError(
                    f"{os.fspath(path)!r} has no weights {prefix}*; "
                    + ("take raw=False." if raw else "it holds the raw ones only: take raw=True.")
                )
            stored = tensors.get(f"{at}x_T")
            size = stored.shape[-1] if stored is not None and stored.ndim == 4 else None
            _networks(result, weights, lambda name: take(prefix + name), num_heads, size)
    if not result.used:
        raise ValueError(
            f"{os.fspath(path)!r} is none of the authors' files: no autoencoder, classifier or statistics among "
            f"{sorted(tensors)[:10]}."
        )
    used = set(result.used)
    top_level = (str(name) for name in content if name not in ("state_dict", "hyper_parameters") or not at)
    result.left_out = [name for name in (*(at + str(name) for name in state if at), *top_level) if name not in used]
    return result


def _attributes(
    path: str | os.PathLike,
    prefix: str,
    has: Callable[[str], bool],
    take: Callable[[str], torch.Tensor],
    statistics: LatentStatistics | None,
) -> AttributeDirections:
    if not (has(f"{prefix}weight") and has(f"{prefix}bias")) or statistics is None:
        raise ValueError(
            f"{os.fspath(path)!r} holds a classifier, but lacks {prefix}weight, {prefix}bias, conds_mean or conds_std."
        )
    weight, bias = take(f"{prefix}weight"), take(f"{prefix}bias")
    known = len(weight) == len(CELEBA_ATTRIBUTES)
    names = CELEBA_ATTRIBUTES if known else [f"class_{k}" for k in range(len(weight))]
    return AttributeDirections(names, weight, bias, statistics)


def _networks(
    result: OfficialCheckpoint,
    shapes: Mapping[str, tuple[int, ...]],
    take: Callable[[str], torch.Tensor],
    num_heads: int | None,
    stored_size: int | None,
) -> None:
    settings = result.hyper_parameters
    latent_shapes = {k.removeprefix("latent_net."): v for k, v in shapes.items() if k.startswith("latent_net.")}
    _check_settings(settings, _SUPPORTED | (_SUPPORTED_WITH_LATENT if latent_shapes else {}))
    heads = num_heads or int(settings.get("net_beatgans_attn_head") or 1)
    dropout = float(settings.get("dropout", 0.1))
    network_def = network_def_of(shapes, heads, dropout, settings.get("net_enc_num_res_blocks"))
    network = build_on_meta(network_def)
    names = network.state_dict()
    result.autoencoder = _fill(network, {key: official_key(key, names) for key in names}, shapes, take)
    image_size = settings.get("img_size") or stored_size
    if image_size is not None:
        result.config["image_size"] = int(image_size)
    scheduler = {
        "_target_": "monai_diffae.schedulers.InvertibleDDIMScheduler",
        "num_train_timesteps": int(settings.get("T", 1000)),
    }
    result.config |= {
        "in_channels": network_def["encoder"]["in_channels"],
        "z_dim": network_def["encoder"]["z_dim"],
        "prediction_type": "epsilon",
        "clip_sample": True,  # as the authors do for images
        "network_def": network_def,
        "scheduler": {**scheduler, "prediction_type": "@prediction_type", "clip_sample": "@clip_sample"},
    }
    if latent_shapes:
        latent_def = latent_network_def_of(latent_shapes)
        latent_network = build_on_meta(latent_def)
        keys = {
            key: f"latent_net.{official_latent_key(key, latent_def['num_layers'])}"
            for key in latent_network.state_dict()
        }
        result.latent_denoiser = _fill(latent_network, keys, shapes, take)
        for name in shapes:  # each of these stands in the file a second time, under this name
            if name.startswith("latent_net.") and ".cond_layers.1." in name:
                twin = {theirs: ours for ours, theirs in keys.items()}[name.replace("cond_layers.1", "linear_emb")]
                if not torch.equal(take(name), latent_network.get_parameter(twin)):
                    raise ValueError(f"{name} differs from its other name, ...linear_emb; the file is inconsistent.")
        result.config |= {
            "latent_network_def": latent_def,
            "latent_scheduler": scheduler | _latent_schedule(str(settings.get("latent_beta_scheduler", "const0.008"))),
        }


def build_on_meta(network_def: Mapping[str, Any]) -> nn.Module:
    """The network of a ``network_def``, without memory for its weights."""
    with torch.device("meta"):
        return ConfigParser({"network_def": dict(network_def)}).get_parsed_content("network_def")


def _fill(
    network: nn.Module,
    keys: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    take: Callable[[str], torch.Tensor],
) -> nn.Module:
    """Put the tensors ``take`` gives for the authors' names into a network on the meta device."""
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    wrong = {
        theirs: (shapes.get(theirs), shape_for(ours, wanted[ours]))
        for ours, theirs in keys.items()
        if shapes.get(theirs) != shape_for(ours, wanted[ours])
    }
    if wrong:
        listed = "; ".join(f"{k} has {v[0] or 'no entry'}, expected {v[1]}" for k, v in list(wrong.items())[:5])
        raise ValueError(
            f"The file's parameters are not those of the authors' network ({len(wrong)} differ): {listed}."
        )
    state = {ours: take(theirs).reshape(wanted[ours]) for ours, theirs in keys.items()}
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(True).eval()


def _check_settings(settings: Mapping[str, Any], supported: Mapping[str, tuple]) -> None:
    for name, values in supported.items():
        if name in settings and settings[name] not in (None, *values):
            raise ValueError(
                f"The file's {name} is {settings[name]!r}; only {' or '.join(map(repr, values))} can be computed here."
            )


def _latent_schedule(name: str) -> dict[str, Any]:
    if name.startswith("const"):
        return {"schedule": "constant_beta", "beta": float(name.removeprefix("const"))}
    if name == "linear":
        return {"schedule": "linear_beta"}
    raise ValueError(
        f"The file's latent_beta_scheduler is {name!r}; only 'const...' and 'linear' can be computed here."
    )
