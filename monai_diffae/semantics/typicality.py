# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import torch
import torch.nn as nn
from sklearn.covariance import LedoitWolf

from monai_diffae.support.atomic_files import replacing
from monai_diffae.support.torch_files import read_fitted

__all__ = ["LatentTypicality"]


class LatentTypicality(nn.Module):
    """Is this a code of the kind that training has seen? The Mahalanobis distance of z_sem, as a percentile of the
    distances of codes that training has not seen.

    The distance is ``sqrt((z - m)^T C^-1 (z - m))`` with mean and covariance of the training's codes. The percentile is
    ``100 k / (M + 1)``, where k of M withheld codes are nearer or as near. 100 M / (M + 1) is the finest one: a code
    that has it lies beyond all withheld ones.

    References:
        Mahalanobis, On the generalised distance in statistics, 1936. Lee et al., A Simple Unified Framework for
        Detecting Out-of-Distribution Samples and Adversarial Attacks, NeurIPS 2018 (of features of a network). The
        covariance is shrunk as in Ledoit and Wolf, Journal of Multivariate Analysis 88, 2004.

    Args:
        mean: shape ``(D,)``.
        whitening: upper triangular W with ``W W^T = C^-1``: ``|(z - m) W|`` is the distance. Shape ``(D, D)``.
        withheld: distances of M withheld codes, shape ``(M,)``, M of 1 or more.

    Raises:
        ValueError: for other shapes, or distances that are negative or not finite.
    """

    def __init__(self, mean: torch.Tensor, whitening: torch.Tensor, withheld: torch.Tensor) -> None:
        super().__init__()
        if mean.ndim != 1 or whitening.shape != (len(mean), len(mean)) or withheld.ndim != 1 or not len(withheld):
            raise ValueError(
                "Expected mean (D,), whitening (D, D) and the distances of one withheld code or more (M,); got "
                f"{list(mean.shape)}, {list(whitening.shape)} and {list(withheld.shape)}."
            )
        if not bool((withheld >= 0).all()) or not bool(withheld.isfinite().all()):
            raise ValueError("The distances of withheld codes must be finite and not negative.")
        self.register_buffer("mean", mean.detach().clone().float())
        self.register_buffer("whitening", whitening.detach().clone().float())
        self.register_buffer("withheld", withheld.detach().clone().float().sort().values)

    @classmethod
    def fit(cls, z_sem: torch.Tensor, withheld: torch.Tensor) -> LatentTypicality:
        """
        Args:
            z_sem: codes of the training, shape ``(N, D)``, N of 2 or more.
            withheld: codes that the training has not seen, shape ``(M, D)``, M of 1 or more.

        Raises:
            ValueError: for other shapes, or codes that do not vary.
        """
        if z_sem.ndim != 2 or len(z_sem) < 2 or withheld.ndim != 2 or withheld.shape[1:] != z_sem.shape[1:]:
            raise ValueError(
                "Expected two codes of the training or more (N, D) and withheld ones (M, D); got "
                f"{list(z_sem.shape)} and {list(withheld.shape)}."
            )
        estimate = LedoitWolf().fit(z_sem.cpu().double().numpy())
        covariance = torch.from_numpy(estimate.covariance_)
        if not bool((covariance.diagonal() > 0).all()):
            raise ValueError("The codes of the training do not vary; they have no covariance to measure by.")
        whitening = torch.linalg.inv(torch.linalg.cholesky(covariance)).T
        mean = torch.from_numpy(estimate.location_)
        distances = ((withheld.cpu().double() - mean) @ whitening).norm(dim=1)
        return cls(mean, whitening, distances)

    @classmethod
    def load(cls, path: str | os.PathLike) -> LatentTypicality:
        """Read a file of :meth:`save`.

        Raises:
            as of :func:`~monai_diffae.support.torch_files.read_fitted`.
        """
        how = "fit_typicality.yaml makes it, or give another typicality_path"
        return read_fitted(path, cls, ["mean", "whitening", "withheld"], "a typicality", how)

    def save(self, path: str | os.PathLike) -> None:
        """Write the state dict; the whole file or none."""
        with replacing(path) as partial:
            torch.save(self.state_dict(), partial)

    def distance(self, z_sem: torch.Tensor) -> torch.Tensor:
        """Of codes ``(B, D)``, shape ``(B,)``."""
        return ((z_sem.to(self.mean) - self.mean) @ self.whitening).norm(dim=1)

    def forward(self, z_sem: torch.Tensor) -> torch.Tensor:
        """The percentiles of codes ``(B, D)``, in [0, 100), shape ``(B,)``.

        Raises:
            ValueError: for codes of another length.
        """
        if z_sem.ndim != 2 or z_sem.shape[1] != len(self.mean):
            raise ValueError(f"Expected codes (B, {len(self.mean)}), as it was fitted to; got {list(z_sem.shape)}.")
        nearer = torch.searchsorted(self.withheld, self.distance(z_sem), right=True)
        return 100.0 * nearer / (len(self.withheld) + 1)

    def beyond(self, z_sem: torch.Tensor) -> torch.Tensor:
        """Whether codes ``(B, D)`` are as far as all withheld ones or farther, shape ``(B,)``: those with the finest
        percentile. Comparing percentiles would depend on how they are rounded."""
        return self.distance(z_sem) >= self.withheld[-1]

    @property
    def finest(self) -> float:
        """The highest percentile that the number of withheld codes allows."""
        return 100.0 * len(self.withheld) / (len(self.withheld) + 1)
