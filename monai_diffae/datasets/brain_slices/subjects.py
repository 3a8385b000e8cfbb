# SPDX-License-Identifier: Apache-2.0
"""One subject of the brain-MRI data set: its factors, and its volume made from the MNI152 template."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch
from monai.data import MetaTensor
from monai.networks.blocks import Warp
from monai.transforms import (
    AdjustContrast,
    GaussianSmooth,
    Rand3DElasticd,
    RandBiasField,
    RandRicianNoise,
    Spacing,
)
from monai.utils import optional_import

from monai_diffae.datasets.brain_slices.lesions import LESIONS, Lesion, draw_lesion, tissue_centers
from monai_diffae.support.randomness import derive_seed

__all__ = ["INTENSITY_SCALE", "SubjectFactors", "draw_factors", "render_subject", "render_ventricles"]

INTENSITY_SCALE = 1000  # stored integer of the template's brightest voxel
_ELASTIC_SIGMA_MM = 14.0


@dataclasses.dataclass(frozen=True)
class SubjectFactors:
    """What distinguishes one subject from the template.

    Two subjects with equal factors but for ``lesion`` have the same anatomy with and without the lesion.

    Args:
        subject: name, e.g. ``sub-0007``.
        lesion: whether the simulated lesion is there.
        lesion_center: its centre in the template, mm in MNI space (x grows to the right); also drawn without lesion.
        lesion_radius_mm: its radius before it is roughened and deformed.
        ventricle_enlargement_mm: outward shift of the wall of the lateral ventricles.
        head_scale: size relative to the template.
        contrast: gamma applied to the intensities; above 1 darkens grey matter.
        seed: of what has no column: rotation, deformation, lesion outline, bias field and noise.
        lesion_shape: see :class:`~monai_diffae.datasets.brain_slices.lesions.Lesion`.
        lesion_intensity: likewise; above 0.9 it is brighter than all tissue.
    """

    subject: str
    lesion: bool
    lesion_center: tuple[float, float, float]
    lesion_radius_mm: float
    ventricle_enlargement_mm: float
    head_scale: float
    contrast: float
    seed: int
    lesion_shape: str = "ball"
    lesion_intensity: float | None = None


@dataclasses.dataclass(frozen=True)
class _Template:
    image: torch.Tensor  # (1, X, Y, Z), intensities in [0, 1]
    affine: np.ndarray
    lesion_centers: dict[str, np.ndarray]  # (N, 3), mm, of each kind of lesions
    ventricles: torch.Tensor  # (1, X, Y, Z), 1 in the fluid of the lateral ventricles, else 0
    ventricle_outward: torch.Tensor  # (3, X, Y, Z), unit normals times a decay with the distance from the wall


@functools.lru_cache(maxsize=1)
def _load_template() -> _Template:
    datasets, found = optional_import("nilearn.datasets")
    if not found:
        raise ImportError("The brain data set is made from nilearn's template: pip install 'monai-diffae[demo]'.")
    from scipy import ndimage

    t1 = datasets.load_mni152_template(resolution=1)
    white = datasets.load_mni152_wm_template(resolution=1).get_fdata(dtype=np.float32)
    grey = datasets.load_mni152_gm_template(resolution=1).get_fdata(dtype=np.float32)
    image, affine = t1.get_fdata(dtype=np.float32), t1.affine
    x, y, z = (np.indices(image.shape, dtype=np.float32)[i] + affine[i, 3] for i in range(3))

    # Lateral ventricles: the two largest dark components in the middle of the brain.
    middle = (abs(x) < 38) & (y > -48) & (y < 38) & (z > -12) & (z < 32)
    fluid = (image > 0.02) & (image < 0.55) & (white + grey < 0.4) & middle
    components, count = ndimage.label(ndimage.binary_opening(fluid))
    sizes = ndimage.sum(fluid, components, range(1, count + 1))
    ventricles = np.isin(components, 1 + np.argsort(sizes)[-2:])

    distance = ndimage.distance_transform_edt(~ventricles) - ndimage.distance_transform_edt(ventricles)
    smooth = ndimage.gaussian_filter(distance.astype(np.float32), 1.5)
    normals = np.stack(np.gradient(smooth))
    normals /= np.maximum(1.0, np.linalg.norm(normals, axis=0))
    decay = np.exp(-((np.maximum(distance, 0) / 16.0) ** 2)).astype(np.float32)

    # Beside the lateral ventricles, where lesions of small vessels are most frequent.
    beside = (abs(x) > 16) & (abs(x) < 32) & (y > -20) & (y < 20) & (z > 8) & (z < 32)
    deep_white = ndimage.binary_erosion(white > 0.8, iterations=3) & beside
    centers = {
        "balls": np.argwhere(deep_white & (distance > 5)) + affine[:3, 3],
        "varied": tissue_centers(image > 0.05, affine, distance),
    }
    fluid = torch.from_numpy(ventricles.astype(np.float32))
    return _Template(torch.from_numpy(image)[None], affine, centers, fluid[None], torch.from_numpy(normals * decay))


def draw_factors(seed: int, index: int, lesion_fraction: float = 0.5, lesions: str = "varied") -> SubjectFactors:
    """The factors of subject ``index`` of the data set ``seed``; a function of its arguments only.

    Args:
        seed: of the data set.
        index: of the subject.
        lesion_fraction: expected share of subjects with a lesion, in [0, 1].
        lesions: ``varied``: several shapes and sizes, darker or brighter than the tissue, in grey and white matter. Or
            ``balls``, those of version 0.1: dark balls in the deep white matter beside the ventricles, which a linear
            function of the pixels finds. The rest of the subject is the same.

    Raises:
        ValueError: for other lesions.
    """
    if lesions not in LESIONS:
        raise ValueError(f"lesions must be one of {', '.join(LESIONS)}, got {lesions!r}.")
    random = np.random.default_rng(derive_seed(seed, index))
    centers = _load_template().lesion_centers["balls"]
    factors = SubjectFactors(
        subject=f"sub-{index:04d}",
        lesion=bool(random.random() < lesion_fraction),
        lesion_center=tuple(float(c) for c in centers[random.integers(len(centers))]),
        lesion_radius_mm=float(random.uniform(9.0, 16.0)),
        ventricle_enlargement_mm=float(random.uniform(0.0, 6.0)),
        head_scale=float(random.uniform(0.93, 1.07)),
        contrast=float(random.uniform(0.8, 1.3)),
        seed=derive_seed(seed, index, 1),
    )
    return _with_varied_lesion(factors, derive_seed(seed, index, 2)) if lesions == "varied" else factors


def _with_varied_lesion(factors: SubjectFactors, seed: int) -> SubjectFactors:
    random = np.random.default_rng(seed)
    centers = _load_template().lesion_centers["varied"]
    center = tuple(float(c) for c in centers[random.integers(len(centers))])
    lesion = draw_lesion(random)
    return dataclasses.replace(
        factors,
        lesion_center=center,
        lesion_radius_mm=lesion.radius_mm,
        lesion_shape=lesion.shape,
        lesion_intensity=lesion.intensity,
    )


def _lesion_weight(factors: SubjectFactors, template: _Template) -> torch.Tensor:
    """Share of lesion in every voxel, (1, X, Y, Z): a shape with a rough outline and a soft edge of about 1 mm."""
    shape = template.image.shape[1:]
    voxel = [torch.arange(n, dtype=torch.float32) + float(o) for n, o in zip(shape, template.affine[:3, 3])]
    offsets = [axis - c for axis, c in zip(voxel, factors.lesion_center)]
    depth = Lesion(factors.lesion_shape, factors.lesion_radius_mm).depth_mm(offsets, factors.seed)
    generator = torch.Generator().manual_seed(factors.seed)
    rough = torch.nn.functional.interpolate(
        torch.randn((1, 1, *(n // 6 for n in shape)), generator=generator), size=shape, mode="trilinear"
    )[0, 0]
    roughness = 1.5 if factors.lesion_shape == "ball" else 0.5  # mm; the others have thin parts
    return torch.sigmoid((depth + roughness * rough) / 0.7)[None]


def _with_enlarged_ventricles(image: torch.Tensor, factors: SubjectFactors, template: _Template) -> torch.Tensor:
    """The template's image, or what else lies in it, ``(1, X, Y, Z)``, with the wall of the ventricles shifted."""
    shift = factors.ventricle_enlargement_mm * template.ventricle_outward  # template voxels are 1 mm
    return Warp(mode="bilinear", padding_mode="border")(image[None], -shift[None])[0]


def _resampled(volume: torch.Tensor, template: _Template, spacing: float) -> MetaTensor:
    """From the template's voxels to those of the data set, ``(C, X, Y, Z)``."""
    on_template = MetaTensor(volume, affine=torch.as_tensor(template.affine))
    return Spacing(pixdim=(spacing,) * 3, padding_mode="zeros")(GaussianSmooth(sigma=0.35 * spacing)(on_template))


def _deformed(volumes: dict[str, MetaTensor], factors: SubjectFactors, spacing: float) -> dict[str, MetaTensor]:
    """Scaled, rotated and deformed as the subject is, whichever volumes are given."""
    sigma = _ELASTIC_SIGMA_MM / spacing
    per_mm = (2 * np.pi**0.5 * sigma) ** 1.5 * 3**0.5 / spacing  # smoothed uniform noise of this size has rms 1 mm
    zoom = 1 / factors.head_scale - 1
    deform = Rand3DElasticd(
        keys=tuple(volumes),
        prob=1.0,
        sigma_range=(sigma, sigma),
        magnitude_range=(1.0 * per_mm, 2.5 * per_mm),
        rotate_range=(np.pi / 40,) * 3,
        scale_range=((zoom, zoom),) * 3,
        mode="bilinear",
        padding_mode="zeros",
    )
    deform.set_random_state(factors.seed)
    return deform(volumes)


def render_subject(factors: SubjectFactors, spacing: float = 2.0) -> tuple[MetaTensor, MetaTensor]:
    """Make the volume of a subject.

    Args:
        factors: see :class:`SubjectFactors`; the result depends on nothing else.
        spacing: voxel size in mm.

    Returns:
        T1 image, float32 with the template's brightest voxel near 1, and lesion mask (0 or 1), both ``(1, X, Y, Z)``
        with an affine in MNI space.
    """
    template = _load_template()
    image = _with_enlarged_ventricles(template.image, factors, template)
    lesion = _lesion_weight(factors, template) if factors.lesion else torch.zeros_like(image)
    lesion = lesion * (image > 0.05)
    if factors.lesion_intensity is None:
        image = image * (1 - lesion) + 0.2 * lesion  # darker than the fluid of the ventricles
    both = _resampled(torch.cat([image, lesion]), template, spacing)

    deformed = _deformed({"image": both[:1], "lesion": both[1:]}, factors, spacing)
    image, lesion = deformed["image"], deformed["lesion"]
    brain = image > 0.05

    bias = RandBiasField(prob=1.0, degree=3, coeff_range=(-0.08, 0.08)).set_random_state(factors.seed)
    noise = RandRicianNoise(prob=1.0, std=0.02, sample_std=False).set_random_state(factors.seed)
    image = AdjustContrast(gamma=factors.contrast)(image)
    if factors.lesion_intensity is not None:  # the contrast depends on the extremes: a bright lesion would change it
        image = image * (1 - lesion) + factors.lesion_intensity * lesion
    image = noise(bias(image)) * brain
    return image, (lesion > 0.5).float()


def render_ventricles(factors: SubjectFactors, spacing: float = 2.0) -> MetaTensor:
    """Where the lateral ventricles of a subject are: their fluid at its size, by itself of :func:`render_subject`.

    Args:
        factors: see :class:`SubjectFactors`; a lesion beside the ventricles changes nothing.
        spacing: voxel size in mm.

    Returns:
        Mask (0 or 1), ``(1, X, Y, Z)``, in the space of the subject's image.
    """
    template = _load_template()
    fluid = _with_enlarged_ventricles(template.ventricles, factors, template)
    deformed = _deformed({"ventricles": _resampled(fluid, template, spacing)}, factors, spacing)
    return (deformed["ventricles"] > 0.5).float()
