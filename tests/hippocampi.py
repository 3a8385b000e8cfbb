# SPDX-License-Identifier: Apache-2.0
"""Drawn volumes in a folder laid out like Task04_Hippocampus."""

from pathlib import Path

import nibabel as nib
import numpy as np

from monai_diffae.datasets.hippocampus.subject_lists import listed_subjects


def write_hippocampi(root: Path, num_train: int = 3, num_test: int = 1) -> Path:
    """Two sides of some subjects to train and to test, and of one to validate: a bright ellipsoid each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", num_train), ("val", 1), ("test", num_test)):
        for subject in sorted(listed_subjects(split))[:count]:
            for number in (2 * subject - 1, 2 * subject):
                shape = rng.integers((30, 40, 24), (36, 48, 30))
                place = (np.indices(shape).reshape(3, -1).T - (shape - 1) / 2) / rng.uniform((5, 12, 4), (9, 18, 7))
                mask = (np.linalg.norm(place, axis=1) < 1).reshape(shape).astype(np.uint8)
                mask[:, : shape[1] // 2] *= 2
                image = 300.0 * (mask > 0) + rng.uniform(0, 200, shape)
                for folder, array in (("imagesTr", image.astype(np.float32)), ("labelsTr", mask)):
                    (root / "Task04_Hippocampus" / folder).mkdir(parents=True, exist_ok=True)
                    file = root / "Task04_Hippocampus" / folder / f"hippocampus_{number:03d}.nii.gz"
                    nib.save(nib.Nifti1Image(array, np.eye(4)), file)
    return root
