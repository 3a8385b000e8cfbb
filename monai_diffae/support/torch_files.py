# SPDX-License-Identifier: Apache-2.0
"""Files of ``torch.save``, read without running code from them; what is wrong with one is said in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch

__all__ = ["read_fitted", "read_state_dict", "read_torch_file"]

Fitted = TypeVar("Fitted")


def read_torch_file(path: str | os.PathLike) -> Any:
    """What ``torch.save`` has written to ``path``, its tensors on the CPU.

    Raises:
        ValueError: for a damaged file, and for one that holds more than tensors, numbers and strings.
        OSError: for a file that cannot be opened.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
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


def read_fitted(
    path: str | os.PathLike, make: Callable[..., Fitted], names: Sequence[str], what: str, how: str
) -> Fitted:
    """What was fitted to codes, from the file of its state dict.

    Args:
        path: of the file.
        make: the class, called with the tensors by name.
        names: of the tensors.
        what: it is, for errors.
        how: to make or give one, for the error of a file that is not there.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file of something else, or tensors that ``make`` refuses.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file {os.fspath(path)!r} of {what}; {how}.")
    state = read_state_dict(path)
    if set(state) != set(names):
        raise ValueError(f"{os.fspath(path)!r} must hold {', '.join(names)} of {what}, got {sorted(state)[:5]}.")
    try:
        return make(**state)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)!r} holds no {what}: {error}") from None
