# SPDX-License-Identifier: Apache-2.0
from .brain_slices import ensure_brain_slices as ensure_brain_slices
from .brain_slices import generate_brain_slices as generate_brain_slices
from .digits import ensure_digits as ensure_digits
from .digits import generate_digits as generate_digits
from .digits import load_digits_arrays as load_digits_arrays
from .folders import find_images as find_images
from .folders import find_volumes as find_volumes
from .folders import split_volumes as split_volumes
from .labels import MaskToLabeld as MaskToLabeld
from .labels import add_labels as add_labels
from .pairs import SlicePairs as SlicePairs
from .seeded import EndlessSampler as EndlessSampler
from .seeded import RandDiffusionNoised as RandDiffusionNoised
from .seeded import SeededDataset as SeededDataset
from .volume_slices import VolumeSlices as VolumeSlices
