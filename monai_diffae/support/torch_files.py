# SPDX-License-Identifier: Apache-2.0
"""Files of ``torch.save``, read without running code from them; what is wrong with one is said in one sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["read_state_dict", "read_torch_file"]


def read_torch_file(path: str | os.PathLike) -> Any:
    """What ``torch.save`` has written to ``path``, its tensors on the CPU.

    Raises:
        ValueError: for a damaged file, and for one that holds more than tensors, numbers and strings.
        OSError: for a file that cannot be opened.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # whatever a damaged or foreign file makes the reader raise
        # PyTorch's own words advise to load without weights_only, which would run code from the file.
        raise ValueError(
            f"{os.fspath(path)!r} cannot be read: expected tensors that torch.save has written, but it is damaged or "
            f"of another kind ({type(error).__name__}); give another file."
        ) from None


def read_state_dict(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """The plain state dict in a file.

    Raises:
        ValueError: for a file that :func:`read_torch_file` refuses, or that holds something else.
        OSError: for a file that cannot be opened.
    """
    state = read_torch_file(path)
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise ValueError(
            f"{os.fspath(path)!r} is no plain state dict (names and tensors), as models/model.pt of a bundle is one."
        )
    return dict(state)
