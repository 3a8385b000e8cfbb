# SPDX-License-Identifier: Apache-2.0
"""Bundles of an installed package: by themselves they would write into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from monai_diffae.bundles.finding import SHIPPED

__all__ = ["options_of_installed"]

_DEFAULT_DATA = "default_dataset_dir"  # filled by a generator on first use


def options_of_installed(folder: Path, files: Sequence[Path], options: Mapping[str, str]) -> dict[str, str]:
    """Options with which a workflow writes nothing into the package; for bundles elsewhere those that are given.

    Args:
        folder: of the bundle.
        files: the configurations of the workflow.
        options: ids that are set.

    Raises:
        ValueError: without an ``output_dir``, in an installed package.
    """
    if SHIPPED.is_symlink() or SHIPPED not in folder.parents:
        return dict(options)
    if "output_dir" not in options:
        raise ValueError(f"{folder.name} lies in the installed package: name a folder for results by --output_dir OUT.")
    has_default = any(_DEFAULT_DATA in (yaml.safe_load(path.read_text()) or {}) for path in files)
    if has_default and not {"dataset_dir", _DEFAULT_DATA} & set(options):
        return {_DEFAULT_DATA: str(Path(options["output_dir"], "data")), **options}
    return dict(options)
