# SPDX-License-Identifier: Apache-2.0
"""A labelled brain-MRI data set that needs no download.

Every subject is the MNI152 T1 template that nilearn carries (skull-stripped, 1 mm), varied by MONAI's transforms with
known factors. **Anatomy is one template, deformed, and the lesions are simulated**: the data serve to train, test and
demonstrate networks, and say nothing about patients.

Written are ``images/sub-0000.nii.gz`` (T1, uint16, affine in MNI space), ``lesions/sub-0000.nii.gz`` and
``ventricles/sub-0000.nii.gz`` (masks, uint8) and ``labels.csv``::

    python -m monai_diffae.datasets.brain_slices --output_dir DIR --num_subjects 100 --seed 0
"""

from .generator import ensure_brain_slices as ensure_brain_slices
from .generator import generate_brain_slices as generate_brain_slices
from .generator import write_brain_slices as write_brain_slices
from .subjects import SubjectFactors as SubjectFactors
from .subjects import draw_factors as draw_factors
from .subjects import render_subject as render_subject
from .subjects import render_ventricles as render_ventricles
