# SPDX-License-Identifier: Apache-2.0
"""Held-out subjects of the brain generator in several variants, and measures of an image against them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.metrics.regression import compute_ssim_and_cs
from scipy import ndimage
from scipy.spatial import cKDTree

from monai_diffae.datasets.brain_slices import draw_factors, write_brain_slices

SEED = 1000  # training has seed 0
LEVELS_MM = (0.0, 1.5, 3.0, 4.5, 6.0)  # ventricle enlargements
MIN_LESION_PIXELS = 20
_MIN_STRIP_PIXELS = 300
_LESION_REACH_MM = 12.5  # the mean radius


def write_variants(folder: Path, num_subjects: int) -> None:
    """Each subject with and without its lesion, and without it at several sizes of the ventricles; kept if complete."""
    if (folder / "labels.csv").exists():
        return
    subjects = []
    for factors in (draw_factors(SEED, index, lesions="balls") for index in range(num_subjects)):
        variants = {"with": {"lesion": True}, "without": {"lesion": False}}
        variants |= {f"{mm:g}mm": {"lesion": False, "ventricle_enlargement_mm": mm} for mm in LEVELS_MM}
        subjects += [
            dataclasses.replace(factors, subject=f"{factors.subject}_{name}", **changed)
            for name, changed in variants.items()
        ]
    write_brain_slices(folder, subjects)


@dataclasses.dataclass
class Place:
    """One slice of one subject in all its variants: images ``(1, X, Y)`` in [-1, 1]."""

    subject: str
    slice: int
    side: str
    enlargement_mm: float
    variants: dict[str, torch.Tensor]
    lesion: torch.Tensor  # (X, Y)
    side_region: torch.Tensor  # (X, Y), where lesions of this side can lie

    @property
    def brain(self) -> torch.Tensor:
        return self.variants["without"][0] > -0.95


def load_places(parser: ConfigParser, folder: Path, num_subjects: int, num_slices: int) -> list[Place]:
    """Slices through each subject's lesion, evenly spaced, by the bundle's own preprocessing."""
    parser["dataset_dir"] = str(folder)
    parser["num_slices"] = None
    parser["data"] = "$monai_diffae.data.find_volumes(@dataset_dir, {'lesion_mask': 'lesions'})"
    parser.parse(reset=True)
    slices: dict[tuple[str, str], dict[int, dict]] = {}
    for item in parser.get_parsed_content("dataset"):
        subject, variant = Path(item["image"].meta["filename_or_obj"]).name.removesuffix(".nii.gz").split("_")
        slices.setdefault((subject, variant), {})[int(item["slice"])] = item
    centers = [draw_factors(SEED, index, lesions="balls").lesion_center for index in range(3000)]
    trees = {"left": cKDTree([c for c in centers if c[0] < 0]), "right": cKDTree([c for c in centers if c[0] > 0])}
    places = []
    for index in range(num_subjects):
        factors = draw_factors(SEED, index, lesions="balls")
        side = "right" if factors.lesion_center[0] > 0 else "left"
        of_subject = {variant: s for (subject, variant), s in slices.items() if subject == factors.subject}
        through = [k for k, s in of_subject["with"].items() if (s["lesion_mask"] > 0.5).sum() >= MIN_LESION_PIXELS]
        shares = (np.arange(num_slices) + 0.5) / num_slices
        for k in sorted({through[int(share * len(through))] for share in shares}) if through else ():
            items = {variant: s[k] for variant, s in of_subject.items()}
            affine = items["with"]["image"].affine
            if not all(torch.allclose(item["image"].affine, affine, atol=1e-3) for item in items.values()):
                raise RuntimeError(f"The variants of {factors.subject} were not cropped alike.")
            images = {variant: item["image"].as_tensor().clone() for variant, item in items.items()}
            pixels = np.indices(images["with"].shape[1:]).reshape(2, -1)
            world = affine.numpy() @ np.vstack([pixels, np.zeros_like(pixels[:1]), np.ones_like(pixels[:1])])
            distance = trees[side].query(world[:3].T)[0].reshape(images["with"].shape[1:])
            places.append(
                Place(
                    factors.subject,
                    k,
                    side,
                    factors.ventricle_enlargement_mm,
                    images,
                    items["with"]["lesion_mask"].as_tensor()[0] > 0.5,
                    torch.from_numpy(distance < _LESION_REACH_MM),
                )
            )
    return places


def inside_and_outside(values: torch.Tensor, mask: torch.Tensor, brain: torch.Tensor) -> tuple[float, float]:
    """Means of ``(X, Y)`` values inside a mask, and in the rest of the brain."""
    return float(values[mask].mean()), float(values[brain & ~mask].mean())


def ssim_map(image: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """SSIM of ``(1, X, Y)`` images in every pixel, ``(X, Y)``; Gaussian window of 11 pixels."""
    padded = [torch.nn.functional.pad(x[None].float(), (5, 5, 5, 5), mode="replicate") for x in (image, truth)]
    return compute_ssim_and_cs(*padded, 2, (11, 11), (1.5, 1.5), data_range=2.0)[0][0, 0]


class VentricleRuler:
    """Reads the enlargement of the ventricles, in mm, off an image of a place: the generator's own scale.

    The area of fluid in the strip over which the wall of the ventricles moves, a pixel counting by how dark it is
    between the strip's median tissue and fluid, is compared with that of the true images at known enlargements.
    """

    def __init__(self, place: Place) -> None:
        small, large = (place.variants[f"{mm:g}mm"][0] for mm in (LEVELS_MM[0], LEVELS_MM[-1]))
        strip = (small - large) > 0.3
        self.tissue, self.fluid = (float(x[strip].median()) if strip.any() else 0.0 for x in (small, large))
        self.region = torch.from_numpy(ndimage.binary_dilation(strip.numpy()))
        self.areas = [self.area(place.variants[f"{mm:g}mm"]) for mm in LEVELS_MM]

    @property
    def is_usable(self) -> bool:
        """The slice lies through the body of the ventricles."""
        return int(self.region.sum()) >= _MIN_STRIP_PIXELS and bool((np.diff(self.areas) > 0).all())

    def area(self, image: torch.Tensor) -> float:
        """Of fluid, in pixels."""
        return float(((self.tissue - image[0][self.region]) / (self.tissue - self.fluid)).clamp(0, 1).sum())

    def millimetres(self, image: torch.Tensor) -> float:
        """The enlargement; beyond the known ones along the line through the nearest two."""
        area, levels = self.area(image), LEVELS_MM
        k = int(np.clip(np.searchsorted(self.areas, area), 1, len(levels) - 1))
        share = (area - self.areas[k - 1]) / (self.areas[k] - self.areas[k - 1])
        return levels[k - 1] + share * (levels[k] - levels[k - 1])
