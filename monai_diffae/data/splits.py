# SPDX-License-Identifier: Apache-2.0
"""Training and validation parts of a data list."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_diffae.support.groups import group_numbers
from monai_diffae.support.randomness import derive_seed

__all__ = ["split_indices", "split_volumes"]

logger = logging.getLogger(__name__)


def split_volumes(
    data: Sequence[Mapping[str, Any]], fraction: float, seed: int = 0, stratify_by: str | None = "label"
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The items of :func:`split_indices`: those to train with, and those to validate with."""
    training, validation = split_indices(data, fraction, seed, stratify_by)
    return [data[i] for i in training], [data[i] for i in validation]


def split_indices(
    data: Sequence[Mapping[str, Any]], fraction: float, seed: int = 0, stratify_by: str | None = "label"
) -> tuple[list[int], list[int]]:
    """Draw the subjects that validate: ``fraction`` of them, at least one; never one that trains too.

    Which items belong together, :func:`~monai_diffae.support.groups.group_of` says: those of a ``subject``; pictures
    without one are on their own. The draw depends on ``seed`` and the names of subjects and files, not on the order of
    the list nor on where its folder lies. It is stratified: each label is as frequent in the validation as in the
    whole, to within one subject, and where there are no labels each folder with files of several subjects is.

    Args:
        data: MONAI data list, items with ``image`` and perhaps ``subject`` and a label.
        fraction: of the subjects, in (0, 1).
        seed: of the draw.
        stratify_by: key of the label, text or a number (of many values, the range is covered evenly); ``None`` for a
            draw without strata, of folders neither.

    Returns:
        Places in ``data`` of the items to train with, rising, and of those to validate with, subject after subject as
        they were drawn, so that the first few stand for all.

    Raises:
        ValueError: for a fraction outside (0, 1), or fewer than two subjects.
    """
    numbers = group_numbers(data).tolist()
    members: dict[int, list[int]] = {}
    for index, number in enumerate(numbers):
        members.setdefault(number, []).append(index)
    if not 0 < fraction < 1 or len(members) < 2:
        raise ValueError(
            f"Expected a fraction in (0, 1) and volumes of two subjects or more to split into training and validation, "
            f"got {fraction} and {len(data)} volumes of {len(members)} subjects."
        )
    count = min(max(1, round(fraction * len(members))), len(members) - 1)
    generator = np.random.default_rng(derive_seed(seed))
    names = {number: min(str(data[i]["image"]) for i in places) for number, places in members.items()}
    order = sorted(members, key=names.__getitem__)
    drawn = [order[k] for k in generator.permutation(len(order))]
    strata = dict.fromkeys(members, ()) if stratify_by is None else _strata(data, members, stratify_by)
    # Evenly spaced places, from a random start, take from each stratum in proportion.
    by_stratum, start = sorted(drawn, key=strata.__getitem__), generator.random()
    held_out = {by_stratum[int((k + start) * len(drawn) / count)] for k in range(count)}
    validation = [index for number in drawn if number in held_out for index in members[number]]
    training = [index for index, number in enumerate(numbers) if number not in held_out]
    logger.info(
        f"{len(members) - count} subjects ({len(training)} files) to train, {count} ({len(validation)} files) to "
        f"validate, drawn with the seed {seed}."
    )
    return training, validation


def _strata(data: Sequence[Mapping[str, Any]], members: Mapping[int, list[int]], key: str) -> dict[int, tuple]:
    """What to sort each subject by: its labels, or its folder where folders hold several subjects."""
    if any(key in item for item in data):
        return {
            number: tuple(sorted({_sortable(data[i].get(key)) for i in places})) for number, places in members.items()
        }
    folders = {number: (os.path.dirname(str(data[places[0]]["image"])),) for number, places in members.items()}
    shared = len(set(folders.values())) < len(folders)
    return folders if shared else dict.fromkeys(members, ())


def _sortable(label: Any) -> tuple[bool, float, str]:
    """Numbers in their order, also as text of a CSV, before other labels."""
    try:
        value = float(label)
    except (TypeError, ValueError):
        return True, 0.0, str(label)
    return (True, 0.0, "nan") if math.isnan(value) else (False, value, "")
