# SPDX-License-Identifier: Apache-2.0
from .brain_slices import ensure_brain_slices as ensure_brain_slices
from .brain_slices import generate_brain_slices as generate_brain_slices
from .digits import ensure_digits as ensure_digits
from .digits import generate_digits as generate_digits
from .digits import load_digits_arrays as load_digits_arrays
from .hippocampus import find_hippocampus as find_hippocampus
from .hippocampus import find_hippocampus_or_volumes as find_hippocampus_or_volumes
from .hippocampus import holds_hippocampus as holds_hippocampus
from .hippocampus import split_hippocampus_or_volumes as split_hippocampus_or_volumes
from .hippocampus import write_hippocampus_labels as write_hippocampus_labels
from .mednist import find_mednist as find_mednist
from .mednist import find_mednist_or_images as find_mednist_or_images
from .mednist import split_mednist_or_images as split_mednist_or_images
from .mednist import write_mednist_labels as write_mednist_labels
