# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import torch
import torch.nn as nn

from monai_diffae.support.torch_files import read_fitted

__all__ = ["LatentStatistics"]


class LatentStatistics(nn.Module):
    """Mean and standard deviation of z_sem over a data set, as buffers.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 4 and 5.2: linear
        classifiers and the latent diffusion see the normalised code.

    Args:
        mean: shape ``(D,)``.
        std: shape ``(D,)``, positive.

    Raises:
        ValueError: for other shapes, values that are not finite, or a standard deviation that is not positive.
    """

    def __init__(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        super().__init__()
        if mean.ndim != 1 or mean.shape != std.shape:
            raise ValueError(f"mean and std must have one shape (D,), got {list(mean.shape)} and {list(std.shape)}.")
        if not bool(torch.isfinite(torch.stack([mean, std])).all()):
            raise ValueError("mean and std of z_sem must be finite; codes that are not come from a failed training.")
        if not bool((std > 0).all()):
            raise ValueError(
                f"std must be positive; dimensions {torch.nonzero(~(std > 0)).flatten().tolist()} of z_sem do not vary."
            )
        self.register_buffer("mean", mean.detach().clone().float())
        self.register_buffer("std", std.detach().clone().float())

    @classmethod
    def fit(cls, z_sem: torch.Tensor) -> LatentStatistics:
        """From the codes of a data set, shape ``(N, D)`` with N of 2 or more."""
        if z_sem.ndim != 2 or len(z_sem) < 2:
            raise ValueError(f"z_sem must have shape (N, D) with two codes or more, got {list(z_sem.shape)}.")
        return cls(z_sem.mean(dim=0), z_sem.std(dim=0))

    @classmethod
    def load(cls, path: str | os.PathLike) -> LatentStatistics:
        """Read a file of the state dict, as training of the latent diffusion and the conversion of weights write it.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it holds something else.
        """
        how = "train_latent.yaml makes them, or give another statistics_path"
        return read_fitted(path, cls, ["mean", "std"], "statistics of z_sem", how)

    def normalize(self, z_sem: torch.Tensor) -> torch.Tensor:
        """``(z_sem - mean) / std``, shape ``(B, D)``."""
        return (z_sem - self.mean) / self.std

    def denormalize(self, z_normalized: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`normalize`."""
        return z_normalized * self.std + self.mean
