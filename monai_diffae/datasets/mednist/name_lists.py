# SPDX-License-Identifier: Apache-2.0
"""The committed split of MedNIST: lists of names, a line a class, and how they were drawn."""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from monai_diffae.datasets.number_ranges import pack_numbers, unpack_numbers

__all__ = ["CLASSES", "SPLITS", "copies_of_each_other", "draw_split", "listed_names", "write_lists"]

CLASSES = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
SPLITS = ("train", "val", "test")
_BLOCK = 100  # consecutive numbers that stay together: in the CT and MRI classes neighbours show one patient
_SHARES = {"val": 0.03, "test": 0.07}


@functools.lru_cache(maxsize=len(SPLITS))
def listed_names(split: str) -> frozenset[str]:
    """Names that a list holds, ``<class>/<six digits>.jpeg``.

    Args:
        split: ``train``, ``val`` or ``test``.

    Raises:
        ValueError: for another split.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    lines = (Path(__file__).parent / "lists" / f"{split}.txt").read_text().splitlines()
    return frozenset(
        f"{name}/{number:06d}.jpeg"
        for name, ranges in (line.split(": ") for line in lines)
        for number in unpack_numbers(ranges)
    )


def draw_split(contents: Mapping[str, bytes], seed: int = 0) -> dict[str, list[str]]:
    """Draw the lists anew; the committed ones are those of the images in ``../shared/data`` and seed 0.

    Blocks of 100 consecutive numbers of a class go to one side together, since neighbours in the CT and MRI classes
    are often slices of one patient. Images that are copies of each other to the byte all go to the side of ``train``
    where one of them is there, otherwise to ``val`` or ``test`` where the first one is.

    Args:
        contents: the bytes (or a digest of them) of each file by its name, ``<class>/<six digits>.jpeg``.
        seed: of the draw.

    Returns:
        Sorted names of each split.
    """
    rng = np.random.default_rng(seed)
    side: dict[str, str] = {}
    for folder in CLASSES:
        names = sorted(name for name in contents if name.startswith(f"{folder}/"))
        blocks = sorted({_number(name) // _BLOCK for name in names})
        order = rng.permutation(blocks).tolist()
        counts = {split: round(share * len(blocks)) for split, share in _SHARES.items()}
        of_block = dict.fromkeys(order, "train")
        of_block |= dict.fromkeys(order[: counts["val"]], "val")
        of_block |= dict.fromkeys(order[counts["val"] : counts["val"] + counts["test"]], "test")
        side |= {name: of_block[_number(name) // _BLOCK] for name in names}
    for copies in copies_of_each_other(contents):
        sides = [side[name] for name in copies]
        side |= dict.fromkeys(copies, "train" if "train" in sides else sides[0])
    return {split: sorted(name for name in side if side[name] == split) for split in SPLITS}


def copies_of_each_other(contents: Mapping[str, bytes]) -> list[Sequence[str]]:
    """Groups of two or more names, sorted, whose files are the same to the byte."""
    groups = defaultdict(list)
    for name in sorted(contents):
        groups[hashlib.sha256(contents[name]).digest()].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _number(name: str) -> int:
    return int(Path(name).stem)


def write_lists(split: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Write ``<split>.txt`` of each split."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, files in split.items():
        lines = []
        for image_class in CLASSES:
            numbers = [_number(file) for file in files if file.startswith(f"{image_class}/")]
            lines.append(f"{image_class}: {pack_numbers(numbers)}\n")
        (folder / f"{name}.txt").write_text("".join(lines))
