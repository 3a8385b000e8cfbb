# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn as nn
from monai.bundle import ConfigParser

from monai_diffae.checkpoints.weights import load_weights

__all__ = ["open_classifier"]

_CONFIGS = [f"configs/{name}.{ending}" for name in ("inference", "train") for ending in ("json", "yaml", "yml")]


def open_classifier(
    path: str | os.PathLike | None, device: torch.device | str = "cpu", network: nn.Module | None = None
) -> nn.Module:
    """A classifier of the user's with its weights, in evaluation mode.

    Args:
        path: an exported program (``.pt2``); TorchScript, as ``python -m monai.bundle ckpt_export`` writes it; weights
            of ``network``; or the folder of a MONAI bundle, of which ``network_def`` and ``models/model.pt`` are taken,
            or without these ``models/model.ts``. A bundle's configuration can run Python.
        device: for it.
        network: whose weights ``path`` holds; ``None`` where the file, or bundle, holds the network.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if none is given; for a file of another kind, weights of another network, and a folder that is no
            bundle.
    """
    if path is None:
        raise ValueError(
            "Give your classifier with classifier_path: a TorchScript or .pt2 file, the folder of a MONAI bundle, or "
            "weights, with their network as classifier_def."
        )
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no classifier {os.fspath(path)!r}; give a TorchScript or .pt2 file, the folder of a MONAI "
            "bundle, or weights."
        )
    if network is not None:
        return load_weights(network.to(device), path).eval()
    if path.is_dir():
        return _of_bundle(path, device)
    try:
        if path.suffix == ".pt2":
            return _Exported(torch.export.load(path)).to(device)
        return torch.jit.load(path, map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise ValueError(
            f"{os.fspath(path)!r} is neither TorchScript nor an exported program ({type(error).__name__}). Weights "
            "alone need their network: give it as classifier_def."
        ) from None  # users are shown the first error of a chain


class _Exported(nn.Module):
    """An exported program as a network like others: of any number of images, where it was exported for a fixed one, and
    without a mode, which programs refuse to be asked for."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.program = program.module()
        (images, *_) = program.graph_signature.user_inputs
        (count,) = (node.meta["val"].shape[0] for node in program.graph.nodes if node.name == images)
        self.batch_size = count if isinstance(count, int) else None

    def train(self, mode: bool = True) -> nn.Module:
        self.training = mode
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.batch_size is None:
            return self.program(images)
        parts = []
        for part in images.split(self.batch_size):
            missing = part[-1:].expand(self.batch_size - len(part), *part.shape[1:])
            parts.append(self.program(torch.cat([part, missing]))[: len(part)])
        return torch.cat(parts)


def _of_bundle(folder: Path, device: torch.device | str) -> nn.Module:
    weights, script = folder / "models" / "model.pt", folder / "models" / "model.ts"
    config = next((folder / name for name in _CONFIGS if (folder / name).is_file()), None)
    if config is not None and weights.is_file():
        parser = ConfigParser()
        parser.read_config(config)
        if (folder / "configs" / "metadata.json").is_file():
            parser.read_meta(folder / "configs" / "metadata.json")
        parser["bundle_root"] = str(folder)
        if "network_def" in parser:
            return load_weights(parser.get_parsed_content("network_def").to(device), weights).eval()
    if script.is_file():
        return open_classifier(script, device)
    raise ValueError(
        f"The folder {os.fspath(folder)!r} is no MONAI bundle with a network: expected network_def in "
        "configs/inference.json (or .yaml, or train.*) and its weights in models/model.pt, or models/model.ts."
    )
