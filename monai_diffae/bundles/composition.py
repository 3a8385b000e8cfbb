# SPDX-License-Identifier: Apache-2.0
"""YAML texts put together from parts, with the comments of the parts.

A text asks for a part in two ways, and a bundle changes what stands in it in a third:

- a line ``# include: name`` gives way to the block of that name, indented as the line is, or to nothing without one;
- ``{{name}}`` is replaced by the word of that name;
- an entry at the top level gives way to another one with its key (:func:`override`).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping

import yaml

_INCLUDE = re.compile(r"^( *)# include: (\w+)\n", re.MULTILINE)
_WORD = re.compile(r"\{\{(\w+)\}\}")


def entries(text: str) -> dict[str, str]:
    """The entries at the top level of a YAML mapping: from its key to its lines, comments directly above it included.

    Raises:
        ValueError: where a key stands twice.
    """
    node = yaml.compose(text)
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"expected a mapping, got: {text.splitlines()[0]}...")
    lines = text.splitlines(keepends=True)
    starts = [_first_comment(lines, key.start_mark.line) for key, _ in node.value]
    found: dict[str, str] = {}
    for (key, _), start, end in zip(node.value, starts, [*starts[1:], len(lines)]):
        if key.value in found:
            raise ValueError(f"'{key.value}' stands twice in one mapping.")
        found[key.value] = _without_rest("".join(lines[start:end]))
    return found


def blocks(text: str) -> dict[str, str]:
    """The values at the top level of a YAML mapping, as text at the margin."""
    found = {}
    for name, entry in entries(text).items():
        head, _, value = entry[entry.index(f"{name}:") :].partition("\n")
        if head.partition(":")[2].partition("#")[0].strip():
            raise ValueError(f"'{name}' should be a block of lines, got {head}.")
        found[name] = textwrap.dedent(value)
    return found


def fill(text: str, blocks: Mapping[str, str], words: Mapping[str, str]) -> tuple[str, set[str]]:
    """A text with its blocks and words in their places, and the names of the blocks that it asked for.

    Raises:
        ValueError: for a word that is not there.
    """
    used: set[str] = set()

    def block(match: re.Match[str]) -> str:
        used.add(match[2])
        return _INCLUDE.sub(block, textwrap.indent(blocks.get(match[2], ""), match[1]))

    def word(match: re.Match[str]) -> str:
        if match[1] not in words:
            raise ValueError(f"no word '{match[1]}'; there are: {', '.join(sorted(words))}.")
        return words[match[1]]

    text = _INCLUDE.sub(block, text)
    while _WORD.search(text):
        text = _WORD.sub(word, text)
    return text, used


def override(text: str, changes: Mapping[str, str]) -> str:
    """A text whose entries give way to those of the same key.

    Args:
        text: a YAML mapping.
        changes: from keys that the text has to their new lines, as :func:`entries` gives them. Where they have no
            comment of their own, those of the text stay.

    Raises:
        ValueError: for a key that the text lacks.
    """
    old = entries(text)
    for key, new in changes.items():
        if key not in old:
            raise ValueError(f"no id '{key}' to change; there are: {', '.join(old)}.")
        above, _, comment = _comments(key, old[key])
        new_above, lines, new_comment = _comments(key, new)
        if "\n" not in lines:  # comments of several lines stand within them
            lines += (new_comment or comment) + "\n"
        replacement = (new_above or above) + lines
        text = _replaced(text, old[key], replacement)
    return text


def _replaced(text: str, old: str, new: str) -> str:
    start = 0 if text.startswith(old) else text.index("\n" + old) + 1
    return text[:start] + new + text[start + len(old) :]


def _comments(key: str, entry: str) -> tuple[str, str, str]:
    """Of an entry the comments above it, its lines, and the comment that a single line, then without its end, has."""
    start = re.search(rf"^{re.escape(key)}:", entry, re.MULTILINE).start()
    above, lines = entry[:start], entry[start:]
    if "\n" in lines.rstrip("\n"):
        return above, lines, ""
    value = yaml.compose(lines).value[0][1]
    end = value.end_mark.index if value.end_mark.index > len(key) + 1 else len(key) + 1
    return above, lines[:end].rstrip(), lines[end:].rstrip("\n")


def _first_comment(lines: list[str], line: int) -> int:
    while line > 0 and lines[line - 1].startswith("#"):
        line -= 1
    return line


def _without_rest(text: str) -> str:
    """Lines of an entry without blank lines and comments of another section behind it."""
    lines = text.splitlines(keepends=True)
    while lines and (not lines[-1].strip() or lines[-1].startswith("#")):
        lines.pop()
    return "".join(lines)
