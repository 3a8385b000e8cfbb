# SPDX-License-Identifier: Apache-2.0
"""What the demo runs: workflows of the bundles, with their options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from monai_diffae.bundles import BundleConfigs, shown_path
from monai_diffae.commands.bundle_run import bundle_words, shell_line

__all__ = ["FEW_SHOT_DIGIT", "WORKFLOWS", "Workflow"]

FEW_SHOT_DIGIT = 3
_SAMPLING = ("model.pt", "latent.pt", "statistics.pt")
_WEIGHTS = {"edit": ("model.pt", "attributes.pt"), "sample": _SAMPLING, "sample-class": _SAMPLING}  # of verbs


@dataclass(frozen=True)
class Workflow:
    """A workflow of a bundle and its place on the page.

    Args:
        name: of its folder of results, and of its picture on the page.
        bundle: folder of the bundle.
        data: folder of the demo's data set.
        verb: of ``monai-diffae``.
        figure: that it draws.
        title: on the page.
        caption: on the page.
        options: ids of the configuration.
    """

    name: str
    bundle: str
    data: str
    verb: str
    figure: str
    title: str
    caption: str
    options: Mapping[str, object] = field(default_factory=dict)

    def missing_weights(self, bundles_root: Path) -> list[Path]:
        """Files in the bundle's ``models`` that it needs and that are not there."""
        models = bundles_root / self.bundle / "models"
        return [models / name for name in _WEIGHTS.get(self.verb, ("model.pt",)) if not (models / name).exists()]

    def monai_words(self, bundles_root: Path, options: Mapping[str, object]) -> list[str]:
        """What ``monai.bundle`` is given to run it, with ``options`` beside its own."""
        root = bundles_root / self.bundle
        return bundle_words(root, BundleConfigs(root).files(self.verb), {**self.options, **options})

    def short_command(self, bundles_root: Path, options: Mapping[str, object]) -> str:
        """The line that does the same."""
        words = ["monai-diffae", self.verb, shown_path(bundles_root / self.bundle)]
        for name, value in {**self.options, **options}.items():
            words += [f"--{name}", str(value)]
        return shell_line(words)


_REAL = ("mednist_diffae", "scans")
_BRAIN = ("brain_slices_diffae", "data")
_DIGITS = ("natural_images_diffae", "digits")
_VOLUMES = [f"images/{name}.nii.gz" for name in ("mni152_template", "sub-0000", "sub-0001")]

WORKFLOWS = (
    Workflow(
        "real_samples",
        *_REAL,
        "sample",
        "samples",
        "Radiographs, CT and MRI: samples",
        "New pictures of the bundle that learned from MedNIST: z_sem from the latent diffusion, x_T random.",
        {"num_samples": 36},
    ),
    Workflow(
        "real_reconstruction",
        *_REAL,
        "compare-x_T",
        "reconstruction",
        "Real CT and MR: reconstruction",
        "With the image's own x_T and with a random one: the CT of a vertebra and the MR slice that pydicom carries, "
        "which are like nothing in MedNIST, or with MEDNIST=DIR test images of MedNIST.",
        {"max_rows": 8},
    ),
    Workflow(
        "real_edit",
        *_REAL,
        "edit",
        "manipulation",
        "Real CT and MR: towards a head",
        "The same images, a quarter, half and three quarters of the way to the mean code of CT slices of heads; x_T "
        "is kept.",
        {"attribute": "is_HeadCT", "to_class_mean": [0.25, 0.5, 0.75], "max_rows": 8},
    ),
    Workflow(
        "hippocampus_edit",
        "hippocampus_mri_diffae",
        "hippocampi",
        "edit",
        "manipulation",
        "Hippocampi: 80 and 120 % of their area, as far as they follow",
        "Sagittal slices around the left and the right hippocampus of the MNI152 template, the mean of many brains, or "
        "with HIPPOCAMPUS=DIR of two test volumes of Task04_Hippocampus. The area in each slice is brought to "
        "that share of its own, along its pattern at the place of the slice; x_T is kept. Of what is asked about two "
        "fifths are measured in the volume, aimed seven tenths (the bundle's page).",
        {
            "attribute": "hippocampus_area",
            "along": "pattern",
            "target": ["80%", "120%"],
            "num_slices": 4,
            "max_rows": 6,
        },
    ),
    Workflow(
        "reconstruction",
        *_BRAIN,
        "compare-x_T",
        "reconstruction",
        "Brain slices: reconstruction",
        "Slices, their reconstructions with the image's own x_T and with a random one, and the errors.",
        {"num_slices": 2, "max_rows": 9},
    ),
    Workflow(
        "manipulation",
        *_BRAIN,
        "edit",
        "manipulation",
        "Brain slices: a lesion removed and added",
        "z_sem is moved along the direction of a lesion on the patient's left; x_T is kept. Upper half: the slices "
        "that score highest for one, lower half: those that score lowest.",
        {"attribute": "lesion_left", "amount": [-0.6, 0.8], "num_slices": 3, "max_rows": 8},
    ),
    Workflow(
        "interpolation",
        *_BRAIN,
        "interpolate",
        "interpolation",
        "Brain slices: interpolation",
        "From a slice of one volume to a slice of another: z_sem on a straight line, x_T on a great circle.",
        {"num_slices": 1, "pairs": [[_VOLUMES[0], _VOLUMES[1]], [_VOLUMES[1], _VOLUMES[2]]]},
    ),
    Workflow(
        "variations",
        *_BRAIN,
        "vary",
        "variations",
        "Brain slices: variations",
        "One z_sem with six random x_T, and their standard deviation: what the semantic code leaves open.",
        {"num_slices": 1},
    ),
    Workflow(
        "samples",
        *_BRAIN,
        "sample",
        "samples",
        "Brain slices: samples",
        "New slices: z_sem from the latent diffusion, x_T random.",
        {"num_samples": 16},
    ),
    Workflow(
        "digits_reconstruction",
        *_DIGITS,
        "compare-x_T",
        "reconstruction",
        "Digits: reconstruction",
        "With the image's own x_T and with a random one.",
        {"max_rows": 10},
    ),
    Workflow(
        "digits_manipulation",
        *_DIGITS,
        "edit",
        "manipulation",
        "Digits: thinner and thicker strokes",
        "z_sem is moved along the direction of the measured thickness; x_T is kept.",
        {"attribute": "thickness", "amount": [-0.4, -0.2, 0.2, 0.4], "max_rows": 10},
    ),
    Workflow(
        "digits_towards_8",
        *_DIGITS,
        "edit",
        "manipulation",
        "Digits: towards 8",
        "z_sem is moved a quarter, half and three quarters of the way to the mean code of the eights; the scores of "
        "slant and thickness are kept, and x_T is.",
        {"attribute": "is_8", "to_class_mean": [0.25, 0.5, 0.75], "keep": ["slant", "thickness"], "max_rows": 10},
    ),
    Workflow(
        "digits_interpolation",
        *_DIGITS,
        "interpolate",
        "interpolation",
        "Digits: a chain of interpolations",
        "From digit to digit: z_sem on straight lines, x_T on great circles.",
        {"chain": ["digit-4.png", "digit-9.png", "digit-7.png", "digit-3.png", "digit-8.png"]},
    ),
    Workflow(
        "digits_samples",
        *_DIGITS,
        "sample",
        "samples",
        "Digits: samples",
        "New digits: z_sem from the latent diffusion, x_T random.",
        {"num_samples": 64},
    ),
    Workflow(
        "digits_few_shot",
        "natural_images_diffae",
        "few_digits",
        "sample-class",
        "samples",
        f"Digits: samples of a {FEW_SHOT_DIGIT} from 20 labels",
        "Samples of the latent diffusion, accepted by a classifier that has seen ten examples of it, ten others and "
        "300 digits without a label.",
        {"attribute": "label", "prior": 0.1, "num_samples": 36},
    ),
)
