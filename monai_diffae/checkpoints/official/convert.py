# SPDX-License-Identifier: Apache-2.0
"""The command that converts a file of the authors into the files that a bundle reads."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

from monai_diffae.checkpoints.official.loading import load_official_checkpoint

__all__ = ["convert", "main"]


def convert(
    path: str | os.PathLike, output_dir: str | os.PathLike, raw: bool = False, num_heads: int | None = None
) -> list[Path]:
    """Write what a file of the authors holds to ``output_dir``; a file there of the same name is replaced.

    Args:
        path: the authors' ``last.ckpt`` or ``latent.pkl``.
        output_dir: gets ``model.pt`` (state dict of the autoencoder), ``latent.pt`` (of the latent denoiser),
            ``statistics.pt`` (of z_sem), ``attributes.pt`` (directions) and the overlay ``converted.yaml``, as far as
            the file has what goes into them.
        raw: take the weights of the last step instead of their moving average.
        num_heads: attention heads, for a file that does not tell them.

    Returns:
        The files that were written.

    Raises:
        ValueError: for a file that cannot be converted; then nothing is written.
    """
    checkpoint = load_official_checkpoint(path, raw=raw, num_heads=num_heads, verbose=True)
    folder = Path(output_dir).resolve()
    overlay = dict(checkpoint.config)
    written: list[Path] = []

    def put(name: str, write: Callable[[Path], object]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{name}.partial"
        write(partial)
        os.replace(partial, folder / name)
        written.append(folder / name)

    parts = {
        "model.pt": ("ckpt_path", checkpoint.autoencoder),
        "latent.pt": ("latent_ckpt_path", checkpoint.latent_denoiser),
        "statistics.pt": ("statistics_path", checkpoint.statistics),
    }
    for name, (key, module) in parts.items():
        if module is not None:
            put(name, lambda file, module=module: torch.save(module.state_dict(), file))
            overlay[key] = str(folder / name)
    if checkpoint.attributes is not None:
        put("attributes.pt", checkpoint.attributes.save)
        overlay["attributes_path"] = str(folder / "attributes.pt")
    if checkpoint.autoencoder is not None:
        head = "# Overlay on inference.yaml of bundles/natural_images_diffae, for the weights beside it.\n"
        text = head + yaml.safe_dump(overlay, sort_keys=False)
        put("converted.yaml", lambda file: file.write_text(text))
    if checkpoint.left_out:
        groups = sorted({".".join(name.split(".")[:2]) for name in checkpoint.left_out})
        print(f"Left out: {len(checkpoint.left_out)} entries of {', '.join(groups)}")
    return written


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m monai_diffae.checkpoints.official",
        description="Convert a checkpoint of the authors of Diff-AE. Nothing in the file is run.",
    )
    parser.add_argument("path", help="the authors' last.ckpt (autoencoder or classifier) or latent.pkl")
    parser.add_argument("--output_dir", required=True, help="folder for the converted files")
    parser.add_argument("--raw", action="store_true", help="the last step's weights instead of their moving average")
    parser.add_argument(
        "--num_heads", type=int, help="attention heads, for a file without hyper_parameters (default 1)"
    )
    arguments = parser.parse_args()
    try:
        for file in convert(**vars(arguments)):
            print(f"Wrote {file}")
    except ValueError as error:
        parser.error(str(error))
