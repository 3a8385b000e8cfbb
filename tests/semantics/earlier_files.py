# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import torch

from monai_diffae.semantics import AttributeDirections


def loaded_without(key: str, attributes: AttributeDirections, path: Path) -> AttributeDirections:
    """Directions after a file of a version that did not keep this part of them."""
    attributes.save(path)
    content = torch.load(path, weights_only=True)
    del content["state_dict"][key]
    torch.save(content, path)
    return AttributeDirections.load(path)
