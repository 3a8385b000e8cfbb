# SPDX-License-Identifier: Apache-2.0
"""Task04_Hippocampus of the Medical Segmentation Decathlon: T1 volumes around a hippocampus, with expert masks.

260 volumes at 1 mm, from Vanderbilt University Medical Center; licence CC BY-SA 4.0. Masks hold the anterior (1) and
the posterior part (2). Files are hippocampi, not people: the split goes by subject. Its lists are committed; subjects
that they do not name are for testing.
"""

from .folder import find_hippocampus as find_hippocampus
from .folder import holds_hippocampus as holds_hippocampus
from .labels import measure_hippocampus as measure_hippocampus
from .labels import write_hippocampus_labels as write_hippocampus_labels
from .own_volumes import find_hippocampus_or_volumes as find_hippocampus_or_volumes
from .own_volumes import split_hippocampus_or_volumes as split_hippocampus_or_volumes
from .subject_lists import subject_of as subject_of
