# SPDX-License-Identifier: Apache-2.0
"""The formats of images, told by the extensions of their files in whatever case. (DICOM is told by what is inside.)"""

from __future__ import annotations

import dataclasses
import functools
import os

from monai.utils import optional_import

__all__ = ["PICTURES", "VOLUMES", "Format", "extension_of", "format_of"]


@dataclasses.dataclass(frozen=True)
class Format:
    """
    Args:
        name: for messages, in the plural.
        extensions: lower case.
        module: that reads it, if it does not come with this package.
        extra: of this package, which installs that module.
    """

    name: str
    extensions: tuple[str, ...]
    module: str = ""
    extra: str = ""

    def missing(self) -> str:
        """What is to be done to read it: empty if nothing is."""
        if not self.module or _is_installed(self.module):
            return ""
        return f"to read them: pip install 'monai-diffae[{self.extra}]'"


@functools.cache
def _is_installed(module: str) -> bool:
    return optional_import(module, allow_namespace_pkg=True)[1]


PICTURES = Format("pictures", (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"))
NIFTI = Format("NIfTI files", (".nii", ".nii.gz"))
PAIRS = Format("pairs of .img and .hdr", (".img", ".hdr", ".img.gz", ".hdr.gz"))  # NIfTI-1, SPM or Analyze
MGH = Format("MGH files", (".mgz", ".mgh", ".mgh.gz"))
META_IMAGE = Format("MetaImage files", (".mha", ".mhd"), "itk", "itk")
NRRD = Format("NRRD files", (".nrrd", ".nhdr"), "nrrd", "nrrd")
ARRAYS = Format("NumPy files", (".npy", ".npz"))
DICOM = Format("DICOM files", (".dcm", ".dicom", ".ima"), "pydicom", "dicom")  # usual extensions, among others and none
VOLUMES = (NIFTI, PAIRS, MGH, META_IMAGE, NRRD, ARRAYS, PICTURES)


def format_of(name: str | os.PathLike) -> Format | None:
    """The format that a file's name tells; of DICOM, only its usual extensions do."""
    lower = os.fspath(name).lower()
    return next((known for known in (*VOLUMES, DICOM) if lower.endswith(known.extensions)), None)


def extension_of(name: str | os.PathLike) -> str:
    """Of a file's name, in lower case and with what is before ``.gz``."""
    stem, extension = os.path.splitext(os.path.basename(os.fspath(name)).lower())
    return os.path.splitext(stem)[1] + extension if extension in (".gz", ".bz2", ".xz") else extension
