# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from collections.abc import Callable

import torch
from monai.inferers import Inferer

from monai_diffae.inferers import DiffusionAutoencoderInferer, ReconstructionInferer
from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.metadata import plain

__all__ = ["CodesInferer", "DecodingInferer"]


class CodesInferer(ReconstructionInferer):
    """Both codes of images, what decoding makes of them, and what that cost.

    Args:
        as of :class:`~monai_diffae.inferers.ReconstructionInferer`.
    """

    @inference
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """Of images and a network as :class:`~monai_diffae.inferers.predicting.PredictingInferer` says.

        Returns:
            ``z_sem`` ``(B, D)``; ``x_T``, shape of ``inputs``, or of their latents; ``reconstruction``, shape of
            ``inputs``; ``(B,)`` each: ``evaluations`` of the denoiser for encoding and decoding, and ``seconds`` an
            image, encoding of z_sem included.
        """
        start = _now(inputs.device)
        images, z_sem, found, reconstruction = self.stochastic_code.autoencoded(inputs, network, self.inferer)
        seconds = (_now(images.device) - start) / len(images)
        return {
            "z_sem": z_sem,
            "x_T": found.x_T.expand(len(images), *found.x_T.shape[1:]),
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
            inputs: x_T, shape ``(B, C, *spatial)``, that of latents where the network has some.
            network: as for decoding.
            z_sem: shape ``(B, D)``.

        Returns:
            ``decoded`` images, shape ``(B, C, *spatial)``.
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
