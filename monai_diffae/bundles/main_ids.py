# SPDX-License-Identifier: Apache-2.0
"""The ids of a configuration that users set, with their defaults and comments, from the YAML text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

__all__ = ["MainId", "main_ids"]

# At the head of a configuration that stands by itself; all that follows is made from these.
_SECTIONS = ("# Hyper-parameters", "# Paths")
_NOT_TO_SET = {"bundle_root", "is_not_rank0"}  # the commands know the one, MONAI the other


@dataclass(frozen=True)
class MainId:
    """An id at the top level.

    Args:
        name: e.g. ``num_slices``.
        default: as the YAML file has it.
        comment: behind it on its line; empty without one.
        overlay: whether it stands in an overlay, not in a configuration that stands by itself.
    """

    name: str
    default: str
    comment: str
    overlay: bool


def main_ids(files: Iterable[Path]) -> list[MainId]:
    """Ids to set of a list of configurations: of the last file first, and each once, as the last file has it.

    Of a file that stands by itself they are those in its sections "Hyper-parameters" and "Paths"; of the overlays
    behind it, those that have a comment, there or in a file before, and whose value is a number, a word, a list, or an
    expression of them.
    """
    found: dict[str, MainId] = {}
    for overlay, path in enumerate(files):
        ids = [_with_comment(item, found.get(item.name)) for item in _ids(path.read_text(), bool(overlay))]
        known = {item.name: item for item in ids if item.comment or not overlay}
        found = known | {name: item for name, item in found.items() if name not in known}
    return list(found.values())


def _with_comment(item: MainId, before: MainId | None) -> MainId:
    return item if item.comment or before is None else replace(item, comment=before.comment)


def _ids(text: str, overlay: bool) -> Iterator[MainId]:
    lines = text.splitlines()
    section = ""
    sections = []  # of each line
    for number, line in enumerate(lines):
        if line.startswith("# ") and (number == 0 or not lines[number - 1]):
            section = line
        sections.append(section)
    node = yaml.compose(text)
    for key, value in node.value if node is not None else ():
        name, start, end = key.value, value.start_mark, value.end_mark
        if start.line != end.line or value.start_mark.line != key.start_mark.line:
            continue  # a block
        if not name.isidentifier() or name in _NOT_TO_SET or isinstance(value, yaml.MappingNode):
            continue
        comment = lines[end.line][end.column :].partition("#")[2].strip()
        default = lines[start.line][start.column : end.column].strip()
        is_object = default.strip("\"'").startswith("$monai_diffae.")
        if not is_object if overlay else sections[start.line] in _SECTIONS:
            yield MainId(name, default, comment, overlay)
