# SPDX-License-Identifier: Apache-2.0
"""DICOM files among others: found by what is in them, grouped to images, and read where they lie in the patient."""

from .headers import is_dicom as is_dicom
from .reading import DicomReader as DicomReader
from .sources import dicom_images as dicom_images
from .sources import dicom_sources as dicom_sources
