# SPDX-License-Identifier: Apache-2.0
"""Where bundles lie: in the working directory, in the checkout or the installed package, or anywhere by their path."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

__all__ = ["bundle_folders", "find_bundle", "shown_path"]

# In a checkout a link to its folder of bundles; in an installed package a folder with copies.
SHIPPED = Path(__file__).parent / "shipped"


def bundle_folders() -> dict[str, Path]:
    """The bundles that are found by name, in alphabetical order.

    They lie in the working directory, in its folder ``bundles`` or with this package; the first of a name counts.
    """
    found: dict[str, Path] = {}
    for folder in (Path.cwd(), Path.cwd() / "bundles", SHIPPED.resolve()):
        for metadata in folder.glob("*/configs/metadata.json"):
            found.setdefault(metadata.parents[1].name, metadata.parents[1])
    return dict(sorted(found.items()))


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


def shown_path(path: str | os.PathLike) -> str:
    """A path as it is written in commands: from the working directory if it lies in there, else absolute."""
    absolute = Path(os.path.abspath(path))
    return os.fspath(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)
