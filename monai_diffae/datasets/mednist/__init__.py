# SPDX-License-Identifier: Apache-2.0
"""MedNIST: 58,954 grey images of 64x64 pixels in six classes, in a split that is committed as lists of names.

The images were collected by B. J. Erickson (Mayo Clinic) from TCIA, the RSNA Bone Age Challenge and the NIH Chest X-ray
set; licence CC BY-SA 4.0. They have no patient numbers, so one patient's images can be on both sides of any split;
blocks of 100 consecutive numbers stay together, which in the CT and MRI classes are often one patient's slices. Many
images of ChestCT are damaged by an overflow in the original.

Training and validation images are those of ``lists/train.txt`` and ``lists/val.txt``; all others are for testing.
"""

from .folder import find_mednist as find_mednist
from .labels import write_mednist_labels as write_mednist_labels
from .measures import measure_shapes as measure_shapes
from .name_lists import CLASSES as CLASSES
from .own_images import find_mednist_or_images as find_mednist_or_images
from .own_images import split_mednist_or_images as split_mednist_or_images
