# SPDX-License-Identifier: Apache-2.0
"""A device that a user has named: whether there is one."""

from __future__ import annotations

from typing import Any

__all__ = ["check_device"]


def check_device(device: Any) -> None:
    """Refuse a word that names no device of this machine, before anything is built for it.

    Args:
        device: a word such as ``cpu``, ``cuda`` or ``cuda:1``; anything else passes.

    Raises:
        ValueError: with what there is.
    """
    import torch

    if not isinstance(device, str) or device.startswith(("$", "@", "%")):
        return
    there = ["cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    try:
        named = torch.device(device)
        torch.empty(0, device=named)
    except (RuntimeError, AssertionError):  # of a PyTorch without CUDA
        raise ValueError(
            f"device {device!r} is not to be had here: expected one of {', '.join(there)}. Leave the option out, or "
            "install PyTorch for your GPU."
        ) from None
