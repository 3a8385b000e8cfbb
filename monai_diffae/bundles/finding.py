# SPDX-License-Identifier: Apache-2.0
"""Where bundles lie: in a checkout beside the package, or anywhere by their path."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

__all__ = ["bundle_folders", "find_bundle"]

CHECKOUT = Path(__file__).parents[2] / "bundles"


def bundle_folders() -> dict[str, Path]:
    """The bundles that are found by name, in alphabetical order."""
    return {path.parents[1].name: path.parents[1] for path in sorted(CHECKOUT.glob("*/configs/metadata.json"))}


def find_bundle(bundle: str | os.PathLike) -> Path:
    """The folder of a bundle, by its name or path.

    Raises:
        ValueError: where there is none; the message lists those that are found by name.
    """
    known = bundle_folders()
    if os.fspath(bundle) in known:
        return known[os.fspath(bundle)]
    folder = Path(bundle)
    if (folder / "configs" / "metadata.json").is_file():
        return folder.resolve()
    near = difflib.get_close_matches(folder.name, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ValueError(
        f"no bundle '{bundle}': neither a folder with configs/metadata.json nor one of {', '.join(known)}.{hint}"
    )
