# SPDX-License-Identifier: Apache-2.0
"""Files of a data set sorted into those that are images and those that are not."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from monai_diffae.data.dicom import dicom_sources, is_dicom
from monai_diffae.data.formats import DICOM, PAIRS, PICTURES, VOLUMES, extension_of, format_of
from monai_diffae.support.names import without_extension
from monai_diffae.support.telling import PassedOver

__all__ = ["pictures_among", "volumes_among"]

# What lies beside images and is none: tables, texts, settings, weights. Not worth a word.
_BESIDE = {".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".rst", ".yaml", ".yml", ".toml", ".ini", ".xml", ".html"}
_BESIDE |= {".bval", ".bvec", ".log", ".pt", ".pth", ".parquet", ".xlsx", ".pdf", ".py", ".ipynb", ".sh"}
_EXTENSION = re.compile(r"\.[a-z][a-z0-9_]{0,9}(\.[a-z0-9]{1,3})?")
_OF_PREVIEWS = {".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
_BESIDE_NAMES = {"readme", "license", "licence", "changes", "changelog", "version", ".bidsignore"}


def pictures_among(files: Sequence[Path], passed: PassedOver) -> list[Path]:
    """
    Args:
        files: of a folder.
        passed: counts those that are no pictures.
    """
    pictures = []
    for file in files:
        known = format_of(file.name)
        if known is PICTURES:
            pictures.append(file)
        elif known is not None:
            passed.add(f"{known.name}, which are no pictures", file)
        else:
            _pass_over(file, passed)
    return pictures


def volumes_among(files: Sequence[Path], passed: PassedOver) -> tuple[list[Path], list[tuple[Path, str]]]:
    """
    Args:
        files: of a folder.
        passed: counts those that are no volumes, or need a package that is not installed.

    Returns:
        Files, and what is made of DICOM with its PatientID; see :func:`~monai_diffae.data.dicom.dicom_sources`.

    Raises:
        ValueError: for what ``dicom_sources`` refuses.
    """
    names = {os.fspath(file).lower() for file in files}
    volumes, dicom = [], []
    for file in files:
        known = format_of(file.name)
        if known is PAIRS and not _is_first_of_pair(file, names):
            if _partner(file) not in names and not _taken_as_dicom(file, dicom):
                passed.add(f"{PAIRS.name} of which one is missing", file)
        elif known in VOLUMES:
            if missing := known.missing():
                passed.add(f"{known.name}, {missing}", file)
            else:
                volumes.append(file)
        elif _is_part(file, names) or _taken_as_dicom(file, dicom):
            continue
        else:
            _pass_over(file, passed)
    volumes = _without_previews(volumes, passed)
    if dicom and (missing := DICOM.missing()):
        for file in dicom:
            passed.add(f"{DICOM.name}, {missing}", file)
        return volumes, []
    return volumes, dicom_sources(dicom, passed)


def _without_previews(volumes: Sequence[Path], passed: PassedOver) -> list[Path]:
    """Without photographs' formats under the name of a volume: what programs write beside it for a look."""
    names = {file.parent / without_extension(file.name) for file in volumes if format_of(file.name) is not PICTURES}
    kept = []
    for file in volumes:
        if extension_of(file) in _OF_PREVIEWS and file.parent / without_extension(file.name) in names:
            passed.add("pictures named as volumes beside them (previews)", file)
        else:
            kept.append(file)
    return kept


def _partner(file: Path) -> str:
    lower = os.fspath(file).lower()
    before, extension = (lower[:-7], lower[-7:]) if lower.endswith(".gz") else (lower[:-4], lower[-4:])
    return before + (extension.replace(".hdr", ".img") if ".hdr" in extension else extension.replace(".img", ".hdr"))


def _is_first_of_pair(file: Path, names: Collection[str]) -> bool:
    """Of a pair the ``.img`` stands for both."""
    return extension_of(file).startswith(".img") and _partner(file) in names


def _is_part(file: Path, names: Collection[str]) -> bool:
    """Whether it is the data of a MetaImage or NRRD header beside it."""
    stem, extension = os.path.splitext(os.fspath(file).lower())
    stem = os.path.splitext(stem)[0] if extension == ".gz" else stem
    return extension in (".raw", ".zraw", ".gz") and (stem + ".mhd" in names or stem + ".nhdr" in names)


def _taken_as_dicom(file: Path, dicom: list[Path]) -> bool:
    if extension_of(file) in _BESIDE or not is_dicom(file):
        return False
    dicom.append(file)
    return True


def _pass_over(file: Path, passed: PassedOver) -> None:
    extension = extension_of(file)
    if extension in _BESIDE or file.name.lower() in _BESIDE_NAMES:
        return
    if not os.access(file, os.R_OK):
        passed.add("files that cannot be read (Permission denied)", file)
    elif not extension and not file.stat().st_size:
        passed.add("empty files", file)
    else:
        kind = extension if _EXTENSION.fullmatch(extension) else "no extension"  # 1.2.840.10008 has none
        passed.add(f"files of a format that is not read ({kind})", file)
