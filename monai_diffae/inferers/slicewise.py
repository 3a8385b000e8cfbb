# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from monai.inferers import Inferer, SliceInferer

from monai_diffae.inferers.metadata import like_input, plain

__all__ = ["SlicewiseInferer"]


class SlicewiseInferer(Inferer):
    """Runs an inferer of 2D images on volumes as well, slice by slice by MONAI's ``SliceInferer``.

    For clients that prepare a volume, call ``inferer(inputs, network)`` and want a volume back, as MONAI Label does.

    Args:
        inferer: called ``(inputs, network)`` on ``(B, C, X, Y)``, gives one image of the same shape:
            :class:`~monai_diffae.inferers.ReconstructionInferer`, or
            :class:`~monai_diffae.inferers.ManipulationInferer` with one amount or target.
        batch_size: slices of a volume that the network sees at once.

    Raises:
        ValueError: for a batch size below 1.

    Example:
        >>> inferer = SlicewiseInferer(ReconstructionInferer(loops))  # doctest: +SKIP
        >>> reconstruction = inferer(volume[None], network)  # (1, C, X, Y, Z)
    """

    depends_on = ("inferer",)

    def __init__(self, inferer: Inferer, batch_size: int = 16) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}.")
        self.inferer = inferer
        self.batch_size = batch_size

    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """What the inferer's ``predict`` gives for a batch of images ``(B, C, X, Y)``."""
        return self.inferer.predict(inputs, network)

    def __call__(self, inputs: torch.Tensor, network: Callable) -> torch.Tensor:  # type: ignore[override]
        """
        Args:
            inputs: images in [-1, 1], ``(B, C, X, Y)``, or volumes ``(B, C, X, Y, Z)`` whose slices lie across Z.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder` of 2D images.

        Returns:
            The inferer's image, shape and metadata of ``inputs``.

        Raises:
            ValueError: for inputs with another number of dimensions.
        """
        if inputs.ndim == 4:
            return self.inferer(inputs, network)
        if inputs.ndim != 5:
            raise ValueError(f"Expected images (B, C, X, Y) or volumes (B, C, X, Y, Z), got {list(inputs.shape)}.")
        slices = SliceInferer(roi_size=inputs.shape[2:4], spatial_dim=2, sw_batch_size=self.batch_size)
        volume = slices(plain(inputs), partial(self.inferer, network=network))
        return like_input(volume, inputs)
