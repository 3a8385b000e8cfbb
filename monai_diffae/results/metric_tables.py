# SPDX-License-Identifier: Apache-2.0
"""A long list of measures as tables that can be read: what was measured down, the measures across."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["metric_tables"]


def metric_tables(measures: Sequence[Any]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """
    Args:
        measures: each with ``measure``, ``of``, ``value``, ``low``, ``high``, ``interval``, ``unit`` and ``count``, as
            :class:`monai_diffae.metrics.evaluation.Measure`.

    Yields:
        Head and rows of a table for each set of measures that was taken of the same things, in their order: a row a
        thing, its measures in columns, a value with its bounds in a cell. Unit, number of images and meaning of the
        bounds stand in the head where they are the same for all rows, else in the cells.
    """
    of_what: dict[str, list[Any]] = {}
    for measure in measures:
        of_what.setdefault(measure.of, []).append(measure)
    tables: dict[tuple[str, ...], list[list[Any]]] = {}
    for group in of_what.values():
        tables.setdefault(tuple(m.measure for m in group), []).append(group)
    for names, groups in tables.items():
        counts = {m.count for group in groups for m in group}
        intervals = {m.interval for group in groups for m in group if has_bounds(m)}
        facts = [f"n = {counts.pop()}"] if len(counts) == 1 and None not in counts else []
        said = not facts and counts != {None}
        facts += sorted(intervals)
        head = [f"of ({'; '.join(facts)})" if facts else "of"]
        for k, name in enumerate(names):
            units = {group[k].unit for group in groups}
            head.append(f"{name} ({units.pop()})" if len(units) == 1 and units != {""} else name)
        rows = []
        for group in groups:
            shared = {m.count for m in group}
            count = f" (n = {group[0].count})" if said and len(shared) == 1 and group[0].count is not None else ""
            cells = [
                _cell(m, title == name, said and len(shared) > 1) for m, title, name in zip(group, head[1:], names)
            ]
            rows.append([group[0].of + count, *cells])
        yield head, rows


def has_bounds(measure: Any) -> bool:
    """Whether there are bounds that say more than the value."""
    return not math.isnan(measure.low) and f"{measure.low:.4g}" != f"{measure.high:.4g}"


def _cell(measure: Any, with_unit: bool, with_count: bool) -> str:
    text = f"{measure.value:.4g}"
    if with_unit and measure.unit:
        text += f" {measure.unit}"
    if has_bounds(measure):
        text += f" ({measure.low:.4g} to {measure.high:.4g})"
    if with_count and measure.count is not None:
        text += f", n = {measure.count}"
    return text
