# SPDX-License-Identifier: Apache-2.0
"""A new bundle, for other data, from the network and the recipe of one that there is."""

from __future__ import annotations

import os
import re
import tempfile
import textwrap
from pathlib import Path

from .building import PARTS, SOURCE, BundleSource, build_bundle
from .composition import entries, fill
from .finding import find_bundle

__all__ = ["new_bundle"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# What a bundle says about the network and its training; all else in its bundle.yaml is about its data.
_BLOCKS = ("network", "latent_network", "scheduler")
_CONFIGS = ("both", "train", "train_latent", "inference", "sample")


def new_bundle(name: str, like: str | os.PathLike, output_dir: str | os.PathLike = ".") -> Path:
    """Write a bundle without weights, ready for ``train.yaml``.

    Args:
        name: of the new folder, and of the bundle in its files: letters, digits, ``_`` and ``-``, a letter first.
        like: name or folder of a bundle with a ``bundle.yaml``, whose kind, network, sizes and recipe are taken over;
            not its attributes, masks or generated data.
        output_dir: where the folder is made, itself made if need be.

    Returns:
        the new folder: ``bundle.yaml``, ``configs``, ``docs/README.md``, ``LICENSE`` and an empty ``models``.

    Raises:
        ValueError: for a bad name, or a ``like`` that is not found or has no ``bundle.yaml``.
        FileExistsError: where there is a file or folder of that name already. Nothing is written then.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"name should be letters, digits, '_' and '-', a letter first, got '{name}'.")
    source = BundleSource(find_bundle(like))
    folder = Path(output_dir) / name
    if os.path.lexists(folder):
        raise FileExistsError(f"{folder} exists already; choose another name or output_dir.")
    words = source.words | {"bundle": name, "like": source.folder.name, "kind": source.kind}
    words["modality"] = str(source.values["metadata"]["modality"])
    head = fill((PARTS / "new_bundle.yaml").read_text(), {}, words)[0]
    page = fill((PARTS / "new_page.md").read_text(), {}, words)[0]

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as made:
        new = Path(made) / name  # the name goes into the files
        for part in ("docs", "models"):
            (new / part).mkdir(parents=True)
        (new / SOURCE).write_text(head + _blocks(source))
        (new / "docs" / "README.md").write_text(page)
        recipe = _recipe(source, BundleSource(new))
        (new / SOURCE).write_text(head + _blocks(source) + recipe)
        build_bundle(new)
        new.rename(folder)
    return folder


def _blocks(source: BundleSource) -> str:
    kept = [
        f"{name}:\n{textwrap.indent(source.own_blocks[name], '  ')}" for name in _BLOCKS if name in source.own_blocks
    ]
    return "\nblocks:\n" + textwrap.indent("".join(kept), "  ") if kept else ""


def _recipe(source: BundleSource, new: BundleSource) -> str:
    """The ids of networks and training that the new bundle has as well; some are of blocks that it has not."""
    text = ""
    for config in _CONFIGS:
        files = ("train", "inference") if config == "both" else (config,)
        present = {key for file in files for key in entries(new.config(file))}
        kept = [entry for key, entry in source.changes.get(config, {}).items() if key in present]
        if kept:
            text += f"\n{config}:\n" + textwrap.indent("".join(kept), "  ")
    return text
