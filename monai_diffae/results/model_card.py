# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["model_card"]

_FACTS = {
    "name": "Model",
    "version": "Version",
    "description": "Description",
    "data_source": "Trained on",
    "image_classes": "Images",
    "intended_use": "Intended use",
    "authors": "Authors",
    "copyright": "Copyright",
}


def model_card(
    bundle_root: str | os.PathLike,
    ckpt_path: str | os.PathLike,
    further: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Facts about a bundle's model by title: from ``configs/metadata.json``, the log of its training where
    ``docs/training_log.csv`` is there, and the files of its weights.

    Args:
        bundle_root: folder of the bundle.
        ckpt_path: weights that are evaluated.
        further: more facts, or others in the place of those found.

    Raises:
        FileNotFoundError: without metadata.json.
    """
    root = Path(bundle_root)
    metadata = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))
    card = {title: str(metadata[key]) for key, title in _FACTS.items() if metadata.get(key)}
    log = root / "docs" / "training_log.csv"
    if log.is_file() and Path(ckpt_path).resolve().parent == (root / "models").resolve():
        with open(log, newline="", encoding="utf-8") as f:
            rows = list(csv.DictReader(f))
        if rows and {"iteration", "images_seen", "hours"} <= set(rows[-1]):
            last = rows[-1]
            card["Training"] = f"{last['iteration']} iterations, {last['images_seen']} images, {last['hours']} hours"
    card["Weights"] = f"{Path(ckpt_path).name}, {Path(ckpt_path).stat().st_size / 2**20:.1f} MiB"
    card["Limits"] = (
        "The numbers below hold for the images they were measured on. A model knows what it was trained on; a "
        "typicality near 100 in latents.csv tells what it does not know. A score is no measurement. An edit shows what "
        "a model of the data makes of an image, not what would happen to a patient. Research only, not for clinical "
        "use."
    )
    return card | dict(further or {})
