# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping
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
    other_name,
    shape_for,
)
from monai_diffae.checkpoints.official.settings import Settings
from monai_diffae.checkpoints.safe_reading import read_checkpoint
from monai_diffae.semantics import AttributeDirections, LatentStatistics
from monai_diffae.support.root_cause import root_cause

__all__ = ["OfficialCheckpoint", "load_official_checkpoint"]

# Parts of the authors' network; a weight in one of them that ours has no place for would change what it computes.
_PARTS = ("time_embed.", "input_blocks.", "middle_block.", "output_blocks.", "out.", "encoder.", "latent_net.")
_PARTS += ("initial", "merger.", "pre_blocks.")


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
        num_heads: attention heads, instead of what the file says (1, as in the paper, where it says nothing).
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
    with tqdm(desc=os.path.basename(path), unit="tensor", disable=not verbose, leave=False) as progress:
        try:
            return _Loader(content, raw, progress).load(num_heads)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)!r}: {error}") from error


class _Loader:
    """Takes tensors out of the content of a file and keeps account of them."""

    def __init__(self, content: Mapping[str, Any], raw: bool, progress: tqdm) -> None:
        state = content.get("state_dict", content if "conds_mean" in content else None)
        if not isinstance(state, Mapping):
            raise ValueError(
                "this is none of the authors' files: it has neither 'state_dict' nor 'conds_mean', but "
                f"{sorted(map(str, content))[:10]}."
            )
        settings = content.get("hyper_parameters") or {}
        if not isinstance(settings, Mapping):
            raise ValueError(f"its hyper_parameters are a {type(settings).__name__}, expected a dictionary.")
        self.content = content
        self.state = {str(name): value for name, value in state.items()}
        self.at = "state_dict." if "state_dict" in content else ""
        self.raw = raw
        self.progress = progress
        self.result = OfficialCheckpoint(hyper_parameters=dict(settings))

    def take(self, name: str) -> torch.Tensor:
        """A copy of a tensor of the file, which counts as used."""
        value = self.state[name]
        sound = isinstance(value, torch.Tensor) and value.layout is torch.strided and not value.is_meta
        if not sound or not value.is_floating_point() or not bool(value.isfinite().all()):
            raise ValueError(f"{name} is not a tensor of finite real numbers.")
        self.used(name)
        return value.detach().to(torch.float32, copy=True)

    def used(self, name: str) -> None:
        self.result.used.append(self.at + name)
        self.progress.update()

    def load(self, num_heads: int | None) -> OfficialCheckpoint:
        result = self.result
        if "conds_mean" in self.state and "conds_std" in self.state:
            mean, std = (self.take(name) for name in ("conds_mean", "conds_std"))
            if mean.numel() != mean.shape[-1]:
                raise ValueError(f"conds_mean has shape {tuple(mean.shape)}, expected (1, D) or (D,).")
            result.statistics = LatentStatistics(mean.flatten(), std.flatten())
        if any(name.startswith(("classifier.", "ema_classifier.")) for name in self.state):
            result.attributes = self._attributes()
        if any(name.startswith(("model.", "ema_model.")) for name in self.state):
            self._networks(num_heads)
        if not result.used:
            raise ValueError(
                "this is none of the authors' files: no autoencoder, classifier or statistics among "
                f"{sorted(self.state)[:10]}."
            )
        names = [self.at + name for name in self.state]
        names += [str(name) for name in self.content if str(name) != "state_dict"] if self.at else []
        used = set(result.used)
        result.left_out = [name for name in names if name not in used]
        return result

    def _attributes(self) -> AttributeDirections:
        prefix = "classifier." if self.raw else "ema_classifier."
        if not {f"{prefix}weight", f"{prefix}bias"} <= set(self.state) or self.result.statistics is None:
            raise ValueError(
                f"it holds a classifier, but lacks {prefix}weight, {prefix}bias, conds_mean or conds_std"
                + ("." if self.raw else "; raw=True takes the weights without ema_.")
            )
        weight, bias = self.take(f"{prefix}weight"), self.take(f"{prefix}bias")
        one_class = self.result.hyper_parameters.get("manipulate_cls")
        names = [f"class_{k}" for k in range(len(weight))]
        if len(weight) == len(CELEBA_ATTRIBUTES):
            names = list(CELEBA_ATTRIBUTES)
        elif len(weight) == 1 and isinstance(one_class, str):
            names = [one_class]
        return AttributeDirections(names, weight, bias, self.result.statistics)

    def _networks(self, num_heads: int | None) -> None:
        result, prefix = self.result, "model." if self.raw else "ema_model."
        shapes = {
            name.removeprefix(prefix): tuple(value.shape) if isinstance(value, torch.Tensor) else ()
            for name, value in self.state.items()
            if name.startswith(prefix)
        }
        if not shapes:
            hint = "take raw=False" if self.raw else "it holds the raw ones only: take raw=True"
            raise ValueError(f"there are no weights {prefix}*; {hint}.")
        self.progress.total = len(shapes)
        latent_shapes = {k.removeprefix("latent_net."): v for k, v in shapes.items() if k.startswith("latent_net.")}
        settings = Settings(result.hyper_parameters, latent=bool(latent_shapes))
        heads = settings.num_heads if num_heads is None else num_heads
        network_def = network_def_of(shapes, heads, settings.dropout, settings.encoder_res_blocks)
        network = build_on_meta(network_def)
        names = network.state_dict()
        result.autoencoder = self._fill(network, {key: official_key(key, names) for key in names}, shapes, prefix)
        z_dim = network_def["encoder"]["z_dim"]
        size, stored = settings.image_size, self.state.get("x_T")
        if size is None and isinstance(stored, torch.Tensor) and stored.ndim == 4:
            size = stored.shape[-1]
        scheduler = {"_target_": "monai_diffae.schedulers.InvertibleDDIMScheduler"}
        result.config = {
            **({"image_size": size} if size else {}),
            "in_channels": network_def["encoder"]["in_channels"],
            "z_dim": z_dim,
            "prediction_type": "epsilon",
            "clip_sample": True,  # as the authors do for images
            "inversion": "explicit",  # clipping leaves no other
            "network_def": network_def,
            "scheduler": scheduler
            | settings.schedule()
            | {"prediction_type": "@prediction_type", "clip_sample": "@clip_sample"},
        }
        if latent_shapes:
            latent_def = latent_network_def_of(latent_shapes)
            latent_network = build_on_meta(latent_def)
            keys = {
                key: f"latent_net.{official_latent_key(key, latent_def['num_layers'], latent_shapes)}"
                for key in latent_network.state_dict()
            }
            result.latent_denoiser = self._fill(latent_network, keys, shapes, prefix)
            for name in keys.values():  # a layer that stands in the file twice
                other = other_name(name)
                if (
                    other != name
                    and other in shapes
                    and torch.equal(self.state[prefix + other], self.state[prefix + name])
                ):
                    self.used(prefix + other)
            latent_scheduler = scheduler | settings.latent_schedule()
            result.config |= {"latent_network_def": latent_def, "latent_scheduler": latent_scheduler}
            if latent_def["z_dim"] != z_dim:
                raise ValueError(f"z_sem has {z_dim} numbers, but the latent network takes {latent_def['z_dim']}.")
        if result.statistics is not None and len(result.statistics.mean) != z_dim:
            raise ValueError(f"z_sem has {z_dim} numbers, but conds_mean {len(result.statistics.mean)}.")
        if "hyper_parameters" in self.content:
            result.used.append("hyper_parameters")
        taken = set(result.used)
        surplus = [
            name
            for name in shapes
            if name.startswith(_PARTS) and not {self.at + prefix + n for n in (name, other_name(name))} & taken
        ]
        if surplus:
            raise ValueError(
                f"the network has parts that cannot be represented here: {', '.join(surplus[:5])} "
                f"({len(surplus)} weights)."
            )

    def _fill(
        self, network: nn.Module, keys: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], prefix: str
    ) -> nn.Module:
        """Put the file's tensors into a network on the meta device. ``keys``: from our names to the authors'."""
        wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        wrong = {
            theirs: (shapes.get(theirs), shape_for(ours, wanted[ours]))
            for ours, theirs in keys.items()
            if shapes.get(theirs) != shape_for(ours, wanted[ours])
        }
        if wrong:
            listed = "; ".join(f"{k} has {v[0] or 'no entry'}, expected {v[1]}" for k, v in list(wrong.items())[:5])
            raise ValueError(f"{len(wrong)} parameters are not those of the authors' network: {listed}.")
        state = {ours: self.take(prefix + theirs).reshape(wanted[ours]) for ours, theirs in keys.items()}
        network.load_state_dict(state, assign=True)
        return network.requires_grad_(True).eval()


def build_on_meta(network_def: Mapping[str, Any]) -> nn.Module:
    """The network of a ``network_def``, without memory for its weights. Raises ValueError if it cannot be built."""
    try:
        with torch.device("meta"):
            return ConfigParser({"network_def": dict(network_def)}).get_parsed_content("network_def")
    except RuntimeError as error:  # MONAI's, around the constructor's
        raise ValueError(f"no network can be built with its sizes: {root_cause(error)}") from error
