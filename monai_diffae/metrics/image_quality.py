# SPDX-License-Identifier: Apache-2.0
"""How near reconstructions are to their images, by MONAI's metrics and, where it is installed, LPIPS."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.metrics import MSEMetric, MultiScaleSSIMMetric, PSNRMetric, SSIMMetric
from monai.utils import optional_import

__all__ = ["ImageQuality", "lpips_network"]

_SSIM_WINDOW = 11
_MS_SSIM_SCALES = 5
_LPIPS_SIDE = 31
_BACKBONE = "alexnet-owt-7be5be79.pth"  # torchvision's file, from which LPIPS takes its features


class ImageQuality:
    """MSE, PSNR, SSIM, MS-SSIM and LPIPS of images of one shape, a number an image each.

    Those that cannot be computed for the shape, or lack a package, are left out; :attr:`skipped` says why.

    References:
        SSIM: Wang et al., IEEE Transactions on Image Processing 13, 2004. MS-SSIM: Wang et al., Asilomar 2003. LPIPS:
        Zhang et al., CVPR 2018. The first four are MONAI's, with a Gaussian window of 11 pixels. SSIM's luminance term
        depends on where 0 is: of images in [-1, 1] it weighs differences in mid-grey more, in black and white less than
        of the same images in [0, 2], from which published values mostly are.

    Args:
        image_shape: ``(C, *spatial)``.
        data_range: largest minus smallest possible value, 2 for images in [-1, 1].
        lpips: a network of the package lpips, called with two batches of images in [-1, 1]; ``None`` for none.
        lpips_missing: why there is none.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        data_range: float = 2.0,
        lpips: nn.Module | None = None,
        lpips_missing: str = "no network was given",
    ) -> None:
        channels, spatial = image_shape[0], list(image_shape[1:])
        dims = {"spatial_dims": len(spatial), "data_range": data_range, "reduction": "none"}
        self.metrics = {"mse": MSEMetric(reduction="none"), "psnr": PSNRMetric(max_val=data_range, reduction="none")}
        self.lpips = None
        self.skipped: dict[str, str] = {}
        if min(spatial) >= _SSIM_WINDOW:
            self.metrics["ssim"] = SSIMMetric(**dims)
        else:
            self.skipped["ssim"] = f"images of {spatial} are smaller than its window of {_SSIM_WINDOW}"
        smallest = _SSIM_WINDOW * 2 ** (_MS_SSIM_SCALES - 1)
        if min(spatial) >= smallest:
            self.metrics["ms_ssim"] = MultiScaleSSIMMetric(**dims)
        else:
            self.skipped["ms_ssim"] = (
                f"images of {spatial} are too small for {_MS_SSIM_SCALES} scales, which need {smallest} pixels a side"
            )
        if len(spatial) != 2 or channels not in (1, 3):
            self.skipped["lpips"] = f"it is made for grey and RGB pictures, not for shape {list(image_shape)}"
        elif min(spatial) < _LPIPS_SIDE:
            self.skipped["lpips"] = f"images of {spatial} are too small for AlexNet, which needs {_LPIPS_SIDE} pixels"
        elif lpips is None:
            self.skipped["lpips"] = lpips_missing
        else:
            self.lpips = lpips

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Args:
            images: shape ``(B, C, *spatial)``.
            truth: same shape.

        Returns:
            By name (``mse``, ``psnr`` in dB, ``ssim``, ``ms_ssim``, ``lpips``), float64 of shape ``(B,)`` on the CPU.

        Raises:
            ValueError: for two shapes.
        """
        if images.shape != truth.shape:
            raise ValueError(f"Expected images of one shape, got {list(images.shape)} and {list(truth.shape)}.")
        images, truth = images.float(), truth.float()
        values = {name: metric(images, truth).flatten(1).mean(dim=1) for name, metric in self.metrics.items()}
        if self.lpips is not None:
            coloured = (x.clamp(-1, 1).expand(-1, 3, -1, -1) for x in (images, truth))
            values["lpips"] = self.lpips(*coloured).flatten()
        return {name: value.double().cpu() for name, value in values.items()}


@functools.cache
def lpips_network() -> tuple[nn.Module | None, str]:
    """The LPIPS network with AlexNet, or None and why there is none. Nothing is downloaded: the weights of AlexNet must
    lie in torch's folder of checkpoints already."""
    lpips, is_installed = optional_import("lpips")
    if not is_installed:
        return None, "the package lpips is not installed (extra metrics)"
    backbone = os.path.join(torch.hub.get_dir(), "checkpoints", _BACKBONE)
    if not os.path.exists(backbone):
        return None, f"torchvision's weights of AlexNet, {_BACKBONE}, are not in torch's folder of checkpoints"
    return lpips.LPIPS(net="alex", verbose=False).eval(), ""
