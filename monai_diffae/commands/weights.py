# SPDX-License-Identifier: Apache-2.0
"""Whether the weights that a workflow starts from are there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import yaml

__all__ = ["missing_weights"]

_WEIGHTS = "ckpt_path"  # of the autoencoder
_DEFAULT = Path("models", "model.pt")


def missing_weights(folder: Path, files: Sequence[Path], options: Collection[str]) -> str:
    """What to do about weights that the bundle lacks; empty where it has them, needs none, or others are named.

    Args:
        folder: of the bundle.
        files: the configurations of the workflow.
        options: ids that are set beside.
    """
    settings = [yaml.safe_load(path.read_text()) or {} for path in files]
    needed = _WEIGHTS in settings[0]  # train.yaml has none
    named_elsewhere = _WEIGHTS in options or any(_WEIGHTS in setting for setting in settings[1:])
    if not needed or named_elsewhere or (folder / _DEFAULT).exists():
        return ""
    fetch = ""
    if (folder / "large_files.yml").exists():
        fetch = f"fetch them by 'python -m monai.bundle download_large_files --bundle_path {folder}', "
    return (
        f"{folder.name} has no weights here ({folder / _DEFAULT} is missing): {fetch}train them by "
        f"'monai-diffae train {folder.name} --output_dir RUN', copy the folder models of that bundle from the "
        "project's repository, or name others by --ckpt_path FILE."
    )
