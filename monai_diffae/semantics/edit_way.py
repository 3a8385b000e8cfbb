# SPDX-License-Identifier: Apache-2.0
"""The ways to say how far an edit goes, of which one is given."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["edit_way"]

Edits = float | str | Sequence[float | str]


def edit_way(
    amount: float | Sequence[float] | None,
    target: float | str | Sequence[float | str] | None,
    to_class_mean: float | Sequence[float] | None,
) -> tuple[str, Edits]:
    """The name of the one that is given, and its value; see :class:`~monai_diffae.inferers.ManipulationInferer`.

    Raises:
        ValueError: unless exactly one of them is given.
    """
    ways = {"amount": amount, "target": target, "to_class_mean": to_class_mean}
    given = {way: edits for way, edits in ways.items() if edits is not None}
    if len(given) != 1:
        got = " and ".join(f"{way}={edits!r}" for way, edits in given.items()) or "none of them"
        raise ValueError(f"Give exactly one of amount, target and to_class_mean; got {got}.")
    ((way, edits),) = given.items()
    return way, edits
