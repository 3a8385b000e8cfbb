# SPDX-License-Identifier: Apache-2.0
"""Headers that leave their voxels to other files may name those of their own folder alone."""

from __future__ import annotations

import os
import re

__all__ = ["check_detached_data"]

_HEADER = 1 << 16  # bytes that a header and its list of files have room in
_NAMED = re.compile(r"^\s*(?:data ?file\s*:|ElementDataFile\s*=)\s*(\S.*?)\s*$", re.MULTILINE | re.IGNORECASE)


def check_detached_data(file: str | os.PathLike) -> None:
    """Refuse a NRRD or MetaImage header whose voxels come from outside of its folder: ``data file: ../../other``.

    Args:
        file: of the header. What it names need not be there.

    Raises:
        ValueError: naming what it refers to.
    """
    with open(file, "rb") as f:
        text = f.read(_HEADER).decode("latin-1")
    named = _NAMED.search(text)
    if named is None:
        return
    first = named.group(1)
    listed = text[named.end() :].splitlines() if first.upper().startswith("LIST") else [first]
    for name in listed:
        path = os.path.normpath(name.strip().replace("\\", "/"))
        if os.path.isabs(path) or path.split(os.sep)[0] == os.pardir or re.match(r"[A-Za-z]:", path):
            raise ValueError(
                f"its voxels are said to be in {name.strip()!r}, outside of its folder; put them beside it"
            )
