# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from torch.utils.data import Dataset

__all__ = ["SampleIndices"]


class SampleIndices(Dataset):
    """The numbers of samples to be drawn, as a data set for an evaluator with a ``SamplingInferer``.

    Args:
        num_samples: 1 or more.
        folder: where the samples are to be written.
        extension: of their files, ``.png`` or ``.nii.gz``.
        first: number of the first one; sample k is the same picture in any run of the same seed.
        spacing: size of a pixel in mm, for each spatial axis; three ones for pictures.

    An item holds ``image``, the number k, int64 of shape ``(1,)``: under the key that MONAI's engines hand to the
    inferer, with the file name ``<folder>/<k, six digits>`` and the affine of the sample, so that what reads these
    from images (SaveImaged, this package's handlers) treats a sample as any result; and ``volume``, k once more, by
    which slices are told apart.

    Raises:
        ValueError: for fewer than one sample or a negative number.
    """

    def __init__(
        self,
        num_samples: int,
        folder: str | os.PathLike,
        extension: str,
        first: int = 0,
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        if num_samples < 1 or first < 0:
            raise ValueError(
                f"Expected num_samples of 1 or more and first of 0 or more, got {num_samples} and {first}."
            )
        self.num_samples = num_samples
        self.folder = os.fspath(folder)
        self.extension = extension
        self.first = first
        self.affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.num_samples:
            raise IndexError(index)
        k = self.first + index
        file = os.path.join(self.folder, f"{k:06d}{self.extension}")
        meta = {"filename_or_obj": file, "space": "RAS"}
        return {"image": MetaTensor(torch.tensor([k]), affine=self.affine, meta=meta), "volume": k}
