# SPDX-License-Identifier: Apache-2.0
"""The command that converts a file of the authors into the files that a bundle reads."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import yaml

from monai_diffae.checkpoints.official.loading import load_official_checkpoint
from monai_diffae.support.atomic_files import replacing

__all__ = ["convert", "main"]

_HEAD = "# Overlay on inference.yaml of bundles/natural_images_diffae, for the weights beside it.\n"


def convert(
    path: str | os.PathLike,
    output_dir: str | os.PathLike,
    raw: bool = False,
    num_heads: int | None = None,
    image_size: int | None = None,
) -> list[Path]:
    """Write what a file of the authors holds to ``output_dir``; a file there of the same name is replaced.

    Args:
        path: the authors' ``last.ckpt`` or ``latent.pkl``.
        output_dir: gets ``model.pt`` (state dict of the autoencoder), ``latent.pt`` (of the latent denoiser),
            ``statistics.pt`` (of z_sem), ``attributes.pt`` (directions) and the overlay ``converted.yaml``, as far as
            the file has what goes into them. A classifier's file adds to the overlay that is there.
        raw: take the weights of the last step instead of their moving average.
        num_heads: attention heads, instead of what the file says.
        image_size: sides of the network's images, for an autoencoder's file that does not tell them.

    Returns:
        The files that were written.

    Raises:
        ValueError: for a file that cannot be converted, or without ``image_size`` where it is needed.
        OSError: where ``output_dir`` cannot be written. In both cases nothing has changed there.
    """
    checkpoint = load_official_checkpoint(path, raw=raw, num_heads=num_heads, verbose=True)
    folder = Path(output_dir).resolve()
    parts = {
        "model.pt": ("ckpt_path", checkpoint.autoencoder),
        "latent.pt": ("latent_ckpt_path", checkpoint.latent_denoiser),
        "statistics.pt": ("statistics_path", checkpoint.statistics),
        "attributes.pt": ("attributes_path", checkpoint.attributes),
    }
    contents: dict[str, Any] = {name: part for name, (_, part) in parts.items() if part is not None}
    overlay: dict[str, Any] = {}
    if checkpoint.autoencoder is not None:
        overlay = checkpoint.config | ({"image_size": image_size} if image_size else {})
        if "image_size" not in overlay:
            raise ValueError(f"{os.fspath(path)!r} does not tell the size of its images; give --image_size.")
    elif (folder / "converted.yaml").is_file():
        overlay = yaml.safe_load((folder / "converted.yaml").read_text())
    if overlay:
        contents["converted.yaml"] = overlay | {parts[name][0]: str(folder / name) for name in contents}
    _write(folder, contents)
    if checkpoint.left_out:
        groups = sorted({".".join(name.split(".")[:2]) for name in checkpoint.left_out})
        print(f"Left out: {len(checkpoint.left_out)} entries of {', '.join(groups)}")
    return [folder / name for name in contents]


def _write(folder: Path, contents: dict[str, Any]) -> None:
    """All files or none: they get their names when all of them are on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    if blocked := [name for name in contents if (folder / name).is_dir()]:
        raise IsADirectoryError(f"{folder / blocked[0]} is a folder; there a file would be written.")
    with ExitStack() as all_of_them:
        for name, part in contents.items():
            partial = all_of_them.enter_context(replacing(folder / name))
            if name == "attributes.pt":
                part.save(partial)
            elif name == "converted.yaml":
                partial.write_text(_HEAD + yaml.safe_dump(part, sort_keys=False))
            else:
                torch.save(part.state_dict(), partial)


def main() -> None:
    """Command line of :func:`convert`."""
    parser = argparse.ArgumentParser(
        prog="python -m monai_diffae.checkpoints.official",
        description="Convert a checkpoint of the authors of Diff-AE. Nothing in the file is run.",
    )
    parser.add_argument("path", help="the authors' last.ckpt (autoencoder or classifier) or latent.pkl")
    parser.add_argument("--output_dir", required=True, help="folder for the converted files")
    parser.add_argument("--raw", action="store_true", help="the last step's weights instead of their moving average")
    parser.add_argument("--num_heads", type=int, help="attention heads, instead of what the file says")
    parser.add_argument("--image_size", type=int, help="sides of the images, for a file that does not tell them")
    arguments = parser.parse_args()
    try:
        for file in convert(**vars(arguments)):
            print(f"Wrote {file}")
    except (OSError, ValueError) as error:
        parser.error(str(error))
