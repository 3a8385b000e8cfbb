# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from collections.abc import Callable

import torch
from monai.inferers import Inferer

from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.metadata import plain
from monai_diffae.inferers.stochastic_code import StochasticCode

__all__ = ["CodesInferer", "DecodingInferer"]


class CodesInferer(Inferer):
    """Both codes of images, what decoding makes of them, and what that cost.

    Args:
        inferer: the loops.
        x_T: ``encode``, ``random`` or ``zeros``.
        seed: of the random x_T, see :class:`~monai_diffae.inferers.stochastic_code.StochasticCode`.
    """

    depends_on = ("inferer", "stochastic_code")

    def __init__(self, inferer: DiffusionAutoencoderInferer, x_T: str = "encode", seed: int = 0) -> None:
        self.inferer = inferer
        self.stochastic_code = StochasticCode(x_T, seed)

    @inference
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: images in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.

        Returns:
            ``z_sem`` ``(B, D)``; ``x_T`` and ``reconstruction``, shape of ``inputs``; ``(B,)`` each: ``evaluations`` of
            the denoiser for encoding and decoding, and ``seconds`` an image, encoding of z_sem included.
        """
        images = plain(inputs)
        start = _now(images.device)
        z_sem = self.inferer.encode(images, network)
        found = self.stochastic_code.with_report(images, network, z_sem, self.inferer)
        x_T = found.x_T.expand_as(images)
        reconstruction = self.inferer.decode(z_sem, x_T, network)
        seconds = (_now(images.device) - start) / len(images)
        return {
            "z_sem": z_sem,
            "x_T": x_T,
            "reconstruction": reconstruction,
            "evaluations": found.evaluations.double() + self.inferer.num_inference_steps,
            "seconds": torch.full((len(images),), seconds, dtype=torch.float64),
        }

    def __call__(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """As :meth:`predict`."""
        return self.predict(inputs, network)


class DecodingInferer(Inferer):
    """Images of given codes.

    Args:
        inferer: the loops.
    """

    depends_on = ("inferer",)

    def __init__(self, inferer: DiffusionAutoencoderInferer) -> None:
        self.inferer = inferer

    @inference
    def predict(self, inputs: torch.Tensor, network: Callable, z_sem: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: x_T, shape ``(B, C, *spatial)``.
            network: as for decoding.
            z_sem: shape ``(B, D)``.

        Returns:
            ``decoded``, shape of ``inputs``.
        """
        return {"decoded": self.inferer.decode(z_sem, plain(inputs), network)}

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: Callable, z_sem: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """As :meth:`predict`."""
        return self.predict(inputs, network, z_sem)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
