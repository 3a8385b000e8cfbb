# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from monai_diffae.support.precision import check_precision

__all__ = ["GradientScaling"]


class GradientScaling:
    """For trainers of MONAI: gradients of float16 are scaled so that they do not vanish, on any device.

    The inferer runs the network in float16; this is the other half. MONAI's own ``amp`` makes a scaler for CUDA alone,
    a new one in each run; this one belongs to the trainer's device and to what a resumed run needs (:attr:`scalers`).
    Its scale starts at 65536, so that the first steps overflow and are left out, and finds its place by itself.
    """

    scaler: torch.amp.GradScaler | None

    def scale_gradients(self, precision: str) -> None:
        """To be called once, after the trainer's own initialisation.

        Raises:
            ValueError: for an unknown precision, and for ``amp=True``, whose autocast is for CUDA only.
        """
        check_precision(precision)
        if self.amp:
            raise ValueError("amp must be False, got True; give the trainer and its inferer a precision instead.")
        if precision == "float16":
            self.scaler = torch.amp.GradScaler(self.state.device.type)
            self.amp, self.amp_kwargs = True, {"enabled": False}  # MONAI's scaling without its autocast

    @property
    def scalers(self) -> dict[str, torch.amp.GradScaler]:
        """What a checkpoint holds of it, by name; nothing unless training is in float16."""
        return {} if self.scaler is None else {"scaler": self.scaler}
