# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer

from monai_diffae.inferers.metadata import like_input, plain

__all__ = ["WindowedInferer"]


class WindowedInferer(Inferer):
    """Runs an inferer on images larger than its network's, in windows by MONAI's ``SlidingWindowInferer``.

    Each window has codes of its own: there is no z_sem, and no score, of the whole image. (MONAI's inferer can call
    ours by itself, ``windows(images, inferer, network)``; this one is for workflows that want all results at once.)

    Args:
        inferer: with ``predict(inputs, network)``, a dictionary of tensors with the batch first:
            :class:`~monai_diffae.inferers.ReconstructionInferer`,
            :class:`~monai_diffae.inferers.ManipulationInferer` and others.
        windows: with the network's size as ``roi_size``.

    Example:
        >>> windows = SlidingWindowInferer(roi_size=(64, 64), overlap=0.25, mode="gaussian")
        >>> WindowedInferer(ReconstructionInferer(loops), windows).predict(images, network)  # doctest: +SKIP
    """

    depends_on = ("inferer", "window_settings")

    def __init__(self, inferer: Any, windows: SlidingWindowInferer) -> None:
        self.inferer = inferer
        self.windows = windows

    @property
    def window_settings(self) -> dict[str, Any]:
        """Of the windows, what decides on the images."""
        return {
            name: getattr(self.windows, name)
            for name in ("roi_size", "overlap", "mode", "sigma_scale", "padding_mode", "cval")
        }

    @torch.no_grad()
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: images in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.

        Returns:
            Those results of the inferer that are images, shape of ``inputs`` with their metadata, and those that are
            series of N images, ``(B, N, C, *spatial)``.

        Raises:
            ValueError: if the inferer gives no images.
        """
        images = plain(inputs)
        series: dict[str, int] = {}

        def infer(window: torch.Tensor) -> dict[str, torch.Tensor]:
            pasted = {}
            for key, result in self.inferer.predict(window, network).items():
                result = plain(result)
                if result.ndim == window.ndim + 1 and result.shape[2:] == window.shape[1:]:
                    series[key] = result.shape[1]
                    result = result.flatten(1, 2)  # MONAI pastes channels
                elif result.shape != window.shape:
                    continue
                pasted[key] = result
            if not pasted:
                raise ValueError(f"{type(self.inferer).__name__} gives no images of the size of a window.")
            return pasted

        results = self.windows(images, infer)
        for key, count in series.items():
            results[key] = results[key].unflatten(1, (count, -1))
        return {key: like_input(result, inputs) for key, result in results.items()}

    def __call__(self, inputs: torch.Tensor, network: Callable) -> torch.Tensor:  # type: ignore[override]
        """The image that the inferer gives when it is called, in windows."""
        return like_input(self.windows(plain(inputs), self.inferer, network), inputs)
