# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn as nn
from torch.utils.data import Dataset, Subset

from monai_diffae.data.latents import encode_dataset, encode_once

__all__ = ["LatentImages"]

_FOR_SCALE = 64  # images that are enough for one number


class LatentImages(Dataset):
    """The training images of a network that works on latents. They are compressed once, and kept in a file.

    Args:
        data: items with ``image`` in [-1, 1], shape ``(C, *spatial)``.
        network: a :class:`~monai_diffae.networks.LatentSpaceAutoencoder`, the weights of its compression model loaded.
            The scale factor of that is set: 1 / standard deviation of the latents.
        path: file to read or to write; it holds the latents before they are scaled. ``None`` where images are augmented
            and each of them is compressed when it is seen: the scale factor is then that of up to 64 images, evenly
            spaced.
        fingerprint: what the latents depend on, of :func:`~monai_diffae.data.encoding_fingerprint` with the compression
            model as the encoder.
        batch_size: images that are compressed at once.
        device: where the network is.
        augmented: whether the images are changed by chance after this: a latent that is kept would be of another image.

    Raises:
        ValueError: if latents are to be kept of images that are augmented.

    An item is that of ``data``, with ``latent`` where they are kept: float32, shape ``(C', *spatial / factor)``, of
    unit variance over the data set, or at the scale of the weights that ``network`` has loaded since.
    """

    def __init__(
        self,
        data: Dataset,
        network: nn.Module,
        path: str | os.PathLike | None,
        fingerprint: Mapping[str, str] | None = None,
        batch_size: int = 1,
        device: torch.device | str = "cpu",
        augmented: bool = False,
    ) -> None:
        if augmented and path is not None:
            raise ValueError(
                "Latents are kept of the training images as they are, but these are augmented (flip_prob, zoom_range): "
                "set cache_latents to false to compress them in every step, or leave out the augmentation."
            )
        self.data = data
        self.network = network
        if path is None:
            some = Subset(data, range(0, len(data), max(1, len(data) // _FOR_SCALE))[:_FOR_SCALE])
            unscaled = encode_dataset(some, network, batch_size, device, encode=_unscaled)["z_sem"]
        else:
            unscaled = encode_once(path, data, network, fingerprint or {}, batch_size, device, encode=_unscaled)[
                "z_sem"
            ]
        network.stage_1.fit_scale(unscaled)
        self.unscaled = None if path is None else unscaled
        self._take_scale(network.stage_1)
        network.stage_1.register_load_state_dict_post_hook(lambda stage_1, _: self._take_scale(stage_1))

    def _take_scale(self, stage_1: nn.Module) -> None:
        """As of weights that are loaded later (init_from): they know latents of that scale. On the CPU, for workers."""
        self.scale_factor = stage_1.scale_factor.cpu().clone()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.data[index]
        return item if self.unscaled is None else {**item, "latent": self.unscaled[index] * self.scale_factor}


def _unscaled(images: torch.Tensor, network: nn.Module) -> torch.Tensor:
    return network.stage_1.compress(images) / network.stage_1.scale_factor
