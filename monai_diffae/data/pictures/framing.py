# SPDX-License-Identifier: Apache-2.0
"""From a picture of any size to the network's frame, and back into the picture."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor
from monai.transforms import CenterSpatialCrop, LoadImage, MapTransform
from monai.utils import convert_to_tensor

__all__ = ["CenterCropToAspectd", "PasteIntoSourced", "ResizePictured", "size_before_crop"]


def _largest_crop(source: Sequence[int], aspect: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the largest crop of ``source`` with the aspect ratio of ``aspect``; at least one pixel."""
    scale = min(source[0] / aspect[0], source[1] / aspect[1])
    rows, columns = (min(max(round(scale * side), 1), whole) for side, whole in zip(aspect, source))
    return rows, columns


def size_before_crop(spatial_size: Sequence[int], smallest: float) -> list[int]:
    """The size from which no random crop has to be enlarged to ``spatial_size``.

    Args:
        spatial_size: rows and columns of the network's pictures.
        smallest: sides of the smallest crop, as a share of the whole's.

    Raises:
        ValueError: for a share outside (0, 1].
    """
    if not 0 < smallest <= 1:
        raise ValueError(f"random_crop is a share of the sides, greater than 0 and at most 1; got {smallest}.")
    return [round(side / smallest) for side in spatial_size]


class _ToSpatialSize(MapTransform):
    """What brings pictures, ``(C, rows, columns)``, nearer to rows and columns that are wanted."""

    def __init__(self, keys: KeysCollection, spatial_size: Sequence[int]) -> None:
        super().__init__(keys)
        self.spatial_size = tuple(spatial_size)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return dict(data) | {key: self._bring(data[key]) for key in self.key_iterator(dict(data))}

    def _bring(self, picture: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError(f"{type(self).__name__} changes nothing.")


class CenterCropToAspectd(_ToSpatialSize):
    """Crops pictures to the largest centred part of a given aspect ratio.

    Args:
        keys: of the pictures, ``(C, rows, columns)``.
        spatial_size: rows and columns that have this ratio, those of the network.
    """

    def _bring(self, picture: torch.Tensor) -> torch.Tensor:
        return CenterSpatialCrop(_largest_crop(picture.shape[1:], self.spatial_size))(picture)


class ResizePictured(_ToSpatialSize):
    """Resizes pictures, bilinearly, and with anti-aliasing where they become smaller, as torchvision does.

    (The anti-aliasing of MONAI's ``Resized`` takes zeros beyond the edges, the mid-grey of [-1, 1], and so draws a
    frame into every picture.)

    Args:
        keys: of the pictures, ``(C, rows, columns)``, floats.
        spatial_size: rows and columns to give them.
    """

    def _bring(self, picture: torch.Tensor) -> torch.Tensor:
        plain = convert_to_tensor(picture, track_meta=False)
        resized = F.interpolate(plain[None], self.spatial_size, mode="bilinear", antialias=True)[0]
        return MetaTensor(resized).copy_meta_from(picture) if isinstance(picture, MetaTensor) else resized


class PasteIntoSourced(MapTransform):
    """Puts results of the network back into the pictures that they were made from.

    A result is resized (bicubic, anti-aliased) to the part of the source that
    :class:`~monai_diffae.data.CenterCropToAspectd` took, and pasted there: it gets the rows and columns of the source,
    whose pixels it keeps outside that part. The source is read from its file again, so that batches need not hold it.

    Args:
        keys: of the results, MetaTensors ``(C, rows, columns)``, or ``(N, C, rows, columns)`` for a series, in
            [-1, 1], with the ``filename_or_obj`` of the source in their metadata.
        reader: that the source was read with.
    """

    def __init__(self, keys: KeysCollection, reader: ImageReader) -> None:
        super().__init__(keys)
        self._load = LoadImage(reader=reader, ensure_channel_first=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            source = convert_to_tensor(self._load(d[key].meta["filename_or_obj"]), track_meta=False)
            result = convert_to_tensor(d[key], track_meta=False).to(source)
            d[key] = MetaTensor(self._paste(result, source)).copy_meta_from(d[key])
        return d

    def _paste(self, result: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        rows, columns = _largest_crop(source.shape[1:], result.shape[-2:])
        place = CenterSpatialCrop((rows, columns)).compute_slices(source.shape[1:])
        series = result.reshape(-1, *result.shape[-3:])
        resized = F.interpolate(series, (rows, columns), mode="bicubic", antialias=True, align_corners=False)
        pasted = source.repeat(*result.shape[:-3], 1, 1, 1)
        pasted[..., place[0], place[1]] = resized.clamp(-1, 1).reshape(*result.shape[:-2], rows, columns)
        return pasted
