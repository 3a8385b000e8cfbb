# SPDX-License-Identifier: Apache-2.0
"""Simulated lesions: where they may lie, what they look like, and their share in every voxel of the template."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

__all__ = ["LESIONS", "SHAPES", "Lesion", "draw_lesion", "tissue_centers"]

LESIONS = ("varied", "balls")
SHAPES = ("ball", "rod", "ring", "spots")
_RADIUS_MM = (6.0, 14.0)
_DARKER, _BRIGHTER = (0.25, 0.5), (0.97, 1.05)  # tissue: grey 0.65, white 0.87; the template's brightest voxel is 1
_NUM_SPOTS = 5


@dataclasses.dataclass(frozen=True)
class Lesion:
    """What a lesion looks like; its size before it is roughened and deformed.

    Args:
        shape: ``ball``; ``rod``, with round ends, two and a half times as long as it is thick; ``ring``, the shell of a
            ball, a third of its radius thick; or ``spots``, five balls of two fifths of the radius beside each other.
        radius_mm: of the ball, or of the ball that the rod, the ring or the spots lie in.
        intensity: what it replaces the tissue by, after the contrast; ``None``: 0.2 before it, darker than fluid.
    """

    shape: str = "ball"
    radius_mm: float = 12.0
    intensity: float | None = None

    def depth_mm(self, offsets: Sequence[torch.Tensor], seed: int) -> torch.Tensor:
        """How far inside its surface voxels lie, negative outside, as of a ball.

        Args:
            offsets: from its centre along each axis in mm, one-dimensional.
            seed: of the rod's direction and of the places of the spots.
        """
        random = np.random.default_rng([seed, SHAPES.index(self.shape)])
        grid = torch.meshgrid(*offsets, indexing="ij")

        def distance(center: Sequence[float] = (0.0, 0.0, 0.0)) -> torch.Tensor:
            return torch.sqrt(sum((axis - c) ** 2 for axis, c in zip(grid, center)))

        if self.shape == "ball":
            return self.radius_mm - distance()
        if self.shape == "ring":
            thick = self.radius_mm / 6
            return thick - (distance() - (self.radius_mm - thick)).abs()
        if self.shape == "rod":
            along = sum(axis * float(u) for axis, u in zip(grid, _direction(random)))
            thick = self.radius_mm / 2.5
            beyond = (along.abs() - (self.radius_mm - thick)).clamp(min=0)  # of its axis
            return thick - torch.sqrt((distance() ** 2 - along**2 + beyond**2).clamp(min=0))
        radius = 0.4 * self.radius_mm
        places = [
            (self.radius_mm - radius) * random.random() ** (1 / 3) * _direction(random) for _ in range(_NUM_SPOTS)
        ]
        return radius - torch.stack([distance(place) for place in places]).amin(dim=0)


def _direction(random: np.random.Generator) -> np.ndarray:
    vector = random.normal(size=3)
    return vector / np.linalg.norm(vector)


def draw_lesion(random: np.random.Generator) -> Lesion:
    """A shape, a size, and darker or brighter than the tissue, each of them as likely as the others."""
    shape = SHAPES[random.integers(len(SHAPES))]
    radius = float(random.uniform(*_RADIUS_MM))
    return Lesion(shape, radius, float(random.uniform(*(_DARKER, _BRIGHTER)[random.integers(2)])))


def tissue_centers(tissue: np.ndarray, affine: np.ndarray, from_ventricles_mm: np.ndarray) -> np.ndarray:
    """Places of varied lesions, ``(N, 3)`` in mm: grey and white matter 8 mm below the brain's surface and 4 mm from
    the lateral ventricles, on the left or the right, at the height of the ventricles and of the deep white matter.

    Args:
        tissue: where the brain is, at 1 mm.
        affine: of its voxels.
        from_ventricles_mm: distance of each.
    """
    inside = ndimage.distance_transform_edt(tissue) > 8
    places = np.argwhere(inside & (from_ventricles_mm > 4)) + affine[:3, 3]
    x, _, z = places.T
    return places[(abs(x) > 10) & (z > -4) & (z < 42)]
