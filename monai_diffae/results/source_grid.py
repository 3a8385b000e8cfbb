# SPDX-License-Identifier: Apache-2.0
"""From slices that a network saw back to the voxels of the volume that they were taken from."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Sequence

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Cropd, InvertibleTransform, LazyTransform, Padd, SpatialResample
from monai.utils import convert_to_tensor

__all__ = ["PlacedSlices", "place_slices"]

_MAX_VOXELS = 2_000_000  # resampled at a time
_MIN_WEIGHT = 0.1  # of a point in a voxel that is processed, all its neighbours are not: 1/8


@dataclasses.dataclass(frozen=True)
class PlacedSlices:
    """Slices on the grid of their source.

    Args:
        box: part of the source's grid that holds all of them.
        covered: voxels of the box whose centres lie in voxels of the slices, bool ``(X, Y, Z)``.
        values: intensities of the source, float32 ``(N, X, Y, Z)``; without meaning where not covered.
        unseen: number of slices in which no voxel of the source has its centre: they lie between thick slices of it.
    """

    box: tuple[slice, slice, slice]
    covered: torch.Tensor
    values: torch.Tensor
    unseen: int = 0


def place_slices(
    results: torch.Tensor,
    indices: Sequence[int],
    image: MetaTensor,
    preprocessing: Compose,
    source_affine: torch.Tensor,
    source_shape: Sequence[int],
    key: str = "image",
) -> PlacedSlices:
    """Turn results of a network on slices of a prepared volume into intensities at the voxels of its source.

    Intensities, crops and pads are undone by the inverse of the transforms that made them. Orientation and spacing are
    undone in one step, by MONAI's SpatialResample along the affines that its transforms keep: linear between processed
    voxels, constant from the outermost ones to their borders, and only where there are any.

    Args:
        results: in [-1, 1] (what lies outside is clipped), ``(N, X, Y, K)`` for K slices.
        indices: place of the slices along the last axis of ``image``.
        image: the prepared volume ``(1, X, Y, Z)``, with the operations that MONAI's transforms recorded.
        preprocessing: that made it.
        source_affine: of the source, ``(4, 4)``.
        source_shape: of the source, three numbers.
        key: of the image in the dictionaries of ``preprocessing``.

    Raises:
        ValueError: if ``preprocessing`` has no invertible scaling of intensities after its last resampling.
    """
    values = torch.zeros(len(results), *image.shape[1:])
    values[..., list(indices)] = convert_to_tensor(results, track_meta=False).float()
    covered = torch.zeros(1, *image.shape[1:])
    covered[..., list(indices)] = 1
    values, covered = _invert_trailing(
        _with_record_of(image, values), _with_record_of(image, covered), preprocessing, key
    )
    return _resample(values, covered, torch.as_tensor(source_affine).double(), source_shape)


def _with_record_of(image: MetaTensor, x: torch.Tensor) -> MetaTensor:
    """A copy of the record, since MONAI's inverses change what they read."""
    return MetaTensor(x, affine=image.affine, applied_operations=copy.deepcopy(image.applied_operations))


def _invert_trailing(
    values: MetaTensor, covered: MetaTensor, preprocessing: Compose, key: str
) -> tuple[MetaTensor, MetaTensor]:
    """Undo what came after the last resampling: intensities (of the values only), crops and pads.

    Pads are cut off, and what a crop had left out comes back as not covered.
    """
    scaled_back = False
    for transform in reversed(preprocessing.flatten().transforms):
        if not isinstance(transform, InvertibleTransform) or key not in getattr(transform, "keys", ()):
            continue
        if isinstance(transform, (Cropd, Padd)):
            covered = transform.inverse({key: covered})[key]
        elif isinstance(transform, LazyTransform):  # MONAI's spatial transforms are
            break
        else:
            scaled_back = True
            covered.applied_operations.pop()
        values = transform.inverse({key: values})[key]
    if not scaled_back:
        raise ValueError(
            "What the network gives cannot be turned into intensities of the source: after orientation and spacing, "
            "preprocessing needs an invertible transform that scales them, monai_diffae.data.RescaleIntensityd."
        )
    return values, covered


def _resample(
    values: MetaTensor, covered: MetaTensor, source_affine: torch.Tensor, source_shape: Sequence[int]
) -> PlacedSlices:
    mask = convert_to_tensor(covered, track_meta=False)
    filled = convert_to_tensor(values, track_meta=False) * mask
    places = mask[0].nonzero()
    low, high = places.amin(dim=0).tolist(), (places.amax(dim=0) + 1).tolist()
    crop = (slice(None), *(slice(a, b) for a, b in zip(low, high)))
    stack = MetaTensor(torch.cat([filled, mask])[crop], affine=covered.affine.double() @ _shift(low))
    box = _box(stack, source_affine, source_shape)
    resample = SpatialResample(mode="bilinear", padding_mode="border", dtype=torch.float32)
    size = [side.stop - side.start for side in box]
    rows = max(1, _MAX_VOXELS // (size[1] * size[2]))
    processed = stack[-1].as_tensor() > 0.5
    seen = torch.zeros(processed.shape[-1], dtype=torch.bool)
    parts = []
    for first in range(box[0].start, box[0].stop, rows):  # in parts, as grids of coordinates are large
        part_affine = source_affine @ _shift([first, box[1].start, box[2].start])
        part_size = [min(rows, box[0].stop - first), *size[1:]]
        part = convert_to_tensor(resample(stack, dst_affine=part_affine, spatial_size=part_size), track_meta=False)
        voxel = _lookup(processed.shape, part_affine, stack.affine, part_size)
        inside = (voxel >= 0) & processed.flatten()[voxel.clamp_min(0)]
        seen[voxel[inside] % len(seen)] = True
        parts.append((inside, part))
    inside, resampled = torch.cat([m for m, _ in parts]), torch.cat([v for _, v in parts], dim=1)
    unseen = int((processed.flatten(0, 1).any(dim=0) & ~seen).sum())
    return PlacedSlices(box, inside, resampled[:-1] / resampled[-1].clamp_min(_MIN_WEIGHT), unseen)


def _lookup(
    stack_shape: Sequence[int], from_affine: torch.Tensor, affine: torch.Tensor, shape: Sequence[int]
) -> torch.Tensor:
    """The stack's voxel, by its flat index, that holds the centre of each voxel of another grid; -1 outside.

    Not the "nearest" of grid_sample: where a centre lies on a border, as often with spacings of 1 and 2 mm, that takes
    one side or the other.
    """
    matrix = torch.linalg.solve(affine.double(), from_affine.double())
    x, y, z = (torch.arange(n, dtype=torch.float64).reshape(s) for n, s in zip(shape, ((-1, 1, 1), (-1, 1), (-1,))))
    index, inside = torch.zeros(tuple(shape), dtype=torch.int64), torch.ones(tuple(shape), dtype=torch.bool)
    for row, n in zip(matrix[:3], stack_shape):
        place = (row[0] * x + row[1] * y + row[2] * z + (row[3] + 0.5 + 1e-4)).floor().long()
        inside &= (place >= 0) & (place < n)
        index = index * n + place.clamp(0, n - 1)
    return index.where(inside, -1)


def _shift(offset: Sequence[int]) -> torch.Tensor:
    shift = torch.eye(4, dtype=torch.float64)
    shift[:3, 3] = torch.as_tensor(offset, dtype=torch.float64)
    return shift


def _box(stack: MetaTensor, source_affine: torch.Tensor, source_shape: Sequence[int]) -> tuple[slice, slice, slice]:
    """The part of the source's grid where a stack can be seen, voxels with their full width."""
    corners = torch.tensor(list(itertools.product(*((-0.5, n - 0.5) for n in stack.shape[1:]), (1.0,))))
    there = corners.double() @ torch.linalg.solve(source_affine, stack.affine.double()).T
    low, high = there[:, :3].amin(dim=0).floor(), there[:, :3].amax(dim=0).ceil()
    starts = [min(max(int(a), 0), n - 1) for a, n in zip(low, source_shape)]
    stops = [min(max(int(b) + 1, start + 1), n) for b, start, n in zip(high, starts, source_shape)]
    x, y, z = (slice(a, b) for a, b in zip(starts, stops))
    return x, y, z
