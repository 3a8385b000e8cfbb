# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn as nn
from torch.utils.data import Dataset, Subset

from monai_diffae.data.latents import encode_dataset, encode_once

__all__ = ["LatentImages", "fit_scale_factor"]


class LatentImages(Dataset):
    """A data set of images with their latents beside them, compressed once and kept in a file.

    Args:
        data: items with ``image`` in [-1, 1], shape ``(C, *spatial)``, which are not augmented.
        network: a :class:`~monai_diffae.networks.LatentSpaceAutoencoder`, the weights of its compression model loaded.
            Its scale factor is set from the latents.
        path: file to read or to write; it holds the latents before they are scaled.
        fingerprint: what they depend on, of :func:`~monai_diffae.data.encoding_fingerprint` with the compression model
            as the encoder.
        batch_size: images that are compressed at once.
        device: where the network is.

    An item is that of ``data`` with ``latent``, float32, shape ``(C', *spatial / factor)``, of unit variance over the
    data set.
    """

    def __init__(
        self,
        data: Dataset,
        network: nn.Module,
        path: str | os.PathLike,
        fingerprint: Mapping[str, str],
        batch_size: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.data = data
        unscaled = encode_once(path, data, network, fingerprint, batch_size, device, encode=_unscaled)["z_sem"]
        network.stage_1.fit_scale(unscaled)
        self.latents = unscaled * network.stage_1.scale_factor.cpu()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.data[index], "latent": self.latents[index]}


def fit_scale_factor(
    data: Dataset, network: nn.Module, num_images: int = 64, batch_size: int = 1, device: torch.device | str = "cpu"
) -> nn.Module:
    """Set the scale factor of a network's compression model from evenly spaced images, where latents are not kept.

    Args:
        data: see :class:`LatentImages`.
        network: see there.
        num_images: at most.
        batch_size: images that are compressed at once.
        device: where the network is.

    Returns:
        The network.
    """
    step = max(1, len(data) // num_images)
    some = Subset(data, range(0, len(data), step)[:num_images])
    network.stage_1.fit_scale(encode_dataset(some, network, batch_size, device, encode=_unscaled)["z_sem"])
    return network


def _unscaled(images: torch.Tensor, network: nn.Module) -> torch.Tensor:
    return network.stage_1.compress(images) / network.stage_1.scale_factor
