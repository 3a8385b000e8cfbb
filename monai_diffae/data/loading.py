# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, NibabelReader
from monai.transforms import LoadImage, MapTransform
from monai.utils import convert_to_tensor

from monai_diffae.data.dicom import DicomSeriesReader, is_dicom
from monai_diffae.data.pictures import PictureReader

__all__ = ["LoadVolumed"]

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")


class LoadVolumed(MapTransform):
    """Loads NIfTI (2D to 4D), DICOM (a file, or a folder with a series) and pictures, all as volumes of one channel.

    An image becomes a MetaTensor ``(1, X, Y, Z)``, float32, Z of 1 for one slice, with the affine of the file (RAS),
    the same as ``original_affine``, and ``filename_or_obj``. What is not a number becomes 0. Pictures are grey in
    [-1, 1] (:class:`~monai_diffae.data.PictureReader`) and lie as a radiologist's axial slice does: their left is the
    patient's right, their top anterior.

    Args:
        keys: of the files.
        channel: of files with more than one (the fourth dimension of NIfTI), the one to take; others do not mind.
        picture_spacing: mm, the size of a picture's pixel, which its file does not tell.
        allow_missing_keys: do nothing for a key that an item lacks.

    Raises:
        ValueError: while it loads, naming the file, for one that cannot be read, has several channels but ``channel``
            is not one of them, or has more dimensions.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channel: int | None = None,
        picture_spacing: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.channel = channel
        self.picture_spacing = picture_spacing
        # Once, since it looks for all of MONAI's readers, which some of them report.
        self.load_image = LoadImage(image_only=False, ensure_channel_first=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._load(os.fspath(d[key]))
        return d

    def _load(self, file: str) -> MetaTensor:
        try:
            if file.lower().endswith(_PICTURES):
                image, affine = self._picture(file)
            elif os.path.isdir(file) or is_dicom(file):
                image, affine = self._dicom(file)
            else:
                image, affine = self._read(NibabelReader(), file)
        except ImportError:
            raise
        except Exception as error:
            # From None: of a chain, print_root_cause shows users the first error, which does not name the file.
            raise ValueError(f"{file} cannot be read as an image: {error}") from None
        while image.ndim > 4 and image.shape[-1] == 1:
            image = image[..., 0]
        if image.ndim not in (3, 4):
            raise ValueError(
                f"{file} has the shape {list(image.shape[1:])} with {len(image)} channels; expected 2D, 3D or 4D."
            )
        if len(image) > 1:
            if self.channel is None or not 0 <= self.channel < len(image):
                raise ValueError(
                    f"{file} has {len(image)} channels (4D, a series or colours), of which one can be processed: name "
                    f"it with channel, 0 to {len(image) - 1}; channel is {self.channel}."
                )
            image = image[self.channel : self.channel + 1]
        image = image if image.ndim == 4 else image[..., None]
        meta = {"filename_or_obj": file, "original_affine": affine.clone(), "space": "RAS"}
        return MetaTensor(torch.nan_to_num(image).contiguous(), affine=affine, meta=meta)

    def _read(self, reader: Any, files: Any) -> tuple[torch.Tensor, torch.Tensor]:
        image, _ = self.load_image(files, reader)
        return convert_to_tensor(image, track_meta=False), image.affine.double()

    def _dicom(self, file: str) -> tuple[torch.Tensor, torch.Tensor]:
        if not os.path.isdir(file):
            return self._read(DicomSeriesReader(), file)
        return self._read(DicomSeriesReader(), sorted(str(f) for f in Path(file).iterdir() if is_dicom(f)))

    def _picture(self, file: str) -> tuple[torch.Tensor, torch.Tensor]:
        image, _ = self._read(PictureReader(channels=1), file)
        spacing = torch.tensor([-self.picture_spacing, -self.picture_spacing, 1.0, 1.0], dtype=torch.float64)
        return image.transpose(1, 2), torch.diag(spacing)
