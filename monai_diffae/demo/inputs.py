# SPDX-License-Identifier: Apache-2.0
"""The demo's data: what the packages of the extra ``demo`` carry, of which training has seen nothing."""

from __future__ import annotations

from pathlib import Path

from monai_diffae.data.brain_slices import generate_brain_slices

__all__ = ["make_brains"]

_HELD_OUT_SEED = 2000


def make_brains(dataset_dir: Path, num_subjects: int) -> None:
    """Generated volumes of a seed of their own, and the untouched template; what is there is used again."""
    if not (dataset_dir / "labels.csv").exists():
        generate_brain_slices(dataset_dir, num_subjects=num_subjects, seed=_HELD_OUT_SEED)
    template_file = dataset_dir / "images" / "mni152_template.nii.gz"
    if not template_file.exists():
        from nilearn.datasets import load_mni152_template

        load_mni152_template(resolution=1).to_filename(template_file)
