# SPDX-License-Identifier: Apache-2.0
"""The networks that are compared: ours, the authors' computed their plain way, MONAI's of as many parameters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from monai.bundle import ConfigParser
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from monai_diffae.networks import DiffAEUNet, DiffusionAutoencoder, LatentDenoiser, SemanticEncoder
from monai_diffae.support.precision import shared_casts

from .monai_network import count, equal_monai_unet
from .plain_network import plain_copy

__all__ = ["AUTHORS", "MONAI", "OURS", "Preset", "Subject", "autoencoders", "flops", "latent_denoisers"]

OURS, AUTHORS, MONAI = "ours", "authors' way", "MONAI"
CONFIGS = Path(__file__).parents[3] / "bundles" / "natural_images_diffae" / "configs"


@dataclass(frozen=True)
class Preset:
    """Sizes of a preset of the bundle for pictures, or of a network of a quarter of its widths."""

    image_size: int
    encoder: dict[str, Any]
    decoder: dict[str, Any]
    latent: dict[str, Any]

    @classmethod
    def read(cls, name: str, quick: bool = False) -> Preset:
        config = ConfigParser()
        config.read_config([str(CONFIGS / "inference.yaml"), str(CONFIGS / "presets" / f"{name}.yaml")])
        parts = {}
        for part in ("network_def::encoder", "network_def::decoder", "latent_network_def"):
            names = [key for key in config[part] if key != "_target_"]
            parts[part] = {key: config.get_parsed_content(f"{part}::{key}") for key in names}
        encoder, decoder, latent = parts.values()
        if quick:
            for part in (encoder, decoder):
                part["channels"] = [width // 4 for width in part["channels"]]
                part["norm_num_groups"] = part["channels"][0]
            latent["hidden_dim"] //= 8
        return cls(config["image_size"] // (2 if quick else 1), encoder, decoder, latent)

    @property
    def groups(self) -> int:
        """Of the normalisation, that every level's channels can be divided by."""
        return min(32, self.decoder["channels"][0])


@dataclass(frozen=True)
class Subject:
    """A network and how it is run.

    Args:
        name: of the table.
        network: called as a ``DiffusionAutoencoder`` is, or as a ``LatentDenoiser``.
        memory_format: of its weights and images in inference.
        training_format: of these in training.
        without_gradient: the context of inference.
        loop: from precision and device to the context of several evaluations in a row.
        optimizer: from parameters to the optimiser of training.
    """

    name: str
    network: nn.Module
    memory_format: torch.memory_format = torch.contiguous_format
    training_format: torch.memory_format = torch.contiguous_format
    without_gradient: Callable = torch.inference_mode
    loop: Callable[[str, torch.device], AbstractContextManager] = shared_casts
    optimizer: Callable = lambda parameters: torch.optim.Adam(parameters, lr=1e-4, fused=True)

    def prepare(self, training: bool) -> None:
        """Put the network into one of its two modes, in the format of this, without gradients."""
        self.network.train(training).zero_grad(set_to_none=True)
        self.network.to(memory_format=self.training_format if training else self.memory_format)


def _nothing_shared(precision: str, device: torch.device) -> AbstractContextManager:
    """The authors enter automatic mixed precision anew in each evaluation."""
    return nullcontext()


def _loop_adam(parameters) -> torch.optim.Optimizer:
    """PyTorch's own choice: on a CPU a loop over the parameters."""
    return torch.optim.Adam(parameters, lr=1e-4)


def autoencoders(preset: Preset, device: torch.device) -> list[Subject]:
    """Ours and the authors' with the same weights; MONAI's UNet with our encoder, since MONAI has none."""
    torch.manual_seed(0)
    ours = DiffusionAutoencoder(SemanticEncoder(**preset.encoder), DiffAEUNet(**preset.decoder))
    for parameter in ours.parameters():
        if parameter.ndim > 1 and not parameter.any():  # a network that predicts 0 says nothing of exact inversion
            nn.init.normal_(parameter, std=0.1 * parameter[0].numel() ** -0.5)
    authors = plain_copy(ours, preset.encoder, preset.decoder)
    unet = equal_monai_unet(
        count(ours.decoder),
        preset.decoder["spatial_dims"],
        preset.decoder["in_channels"],
        preset.decoder["z_dim"],
        preset.decoder["channels"],
        preset.decoder["attention_levels"],
        preset.decoder.get("num_res_blocks", 2),
        preset.groups,
    )
    monai = DiffusionAutoencoder(SemanticEncoder(**preset.encoder), unet)
    last = torch.channels_last
    training = torch.contiguous_format if device.type == "cpu" else last  # as in the bundles
    subjects = [
        Subject(OURS, ours, last, training),
        Subject(AUTHORS, authors, without_gradient=torch.no_grad, loop=_nothing_shared, optimizer=_loop_adam),
        Subject(MONAI, monai, last, training),
    ]
    for subject in subjects:
        subject.network.to(device)
        subject.prepare(training=False)
    return subjects


class _EachTimestep(nn.Module):
    """The authors' loop gives every sample its own timestep, so that its embedding is computed for each."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: None = None) -> torch.Tensor:
        return self.network(x, timesteps.expand(len(x)))


class _Picture(nn.Module):
    """MONAI's UNet, which wants two dimensions or more, on z_sem as a picture of 16 rows."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: None = None) -> torch.Tensor:
        return self.network(x.reshape(len(x), 1, 16, -1), timesteps.expand(len(x))).flatten(1)


def latent_denoisers(preset: Preset, device: torch.device) -> list[Subject]:
    """The perceptron of ours is that of the authors; MONAI has a UNet only, and none for vectors."""
    torch.manual_seed(0)
    ours = LatentDenoiser(**preset.latent)
    unet = equal_monai_unet(
        count(ours), 2, 1, None, preset.decoder["channels"], [False] * len(preset.decoder["channels"]), 2, preset.groups
    )
    subjects = [
        Subject(OURS, ours),
        Subject(AUTHORS, _EachTimestep(ours), without_gradient=torch.no_grad),
        Subject(MONAI, _Picture(unet)),
    ]
    for subject in subjects:
        subject.network.eval().to(device)
    return subjects


def flops(call: Callable[[], object]) -> int:
    """Floating-point operations of matrix products and convolutions, two for each multiplication.

    Attention is run as its two products: PyTorch does not count its fused kernel of CPUs.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
