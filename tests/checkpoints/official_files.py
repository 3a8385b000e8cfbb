# SPDX-License-Identifier: Apache-2.0
"""The small file of the authors' kind (tests/data/README.md), and changed copies of it."""

from pathlib import Path

import torch

from monai_diffae.checkpoints.safe_reading import read_checkpoint

GOLDEN = Path(__file__).parents[1] / "data" / "official_small"


def golden_content() -> dict:
    content = read_checkpoint(GOLDEN / "last.ckpt")
    content["state_dict"] = {name: tensor.clone() for name, tensor in content["state_dict"].items()}
    content.pop("callbacks")
    return content


def saved(content: object, folder: Path, name: str = "last.ckpt") -> Path:
    torch.save(content, folder / name)
    return folder / name
