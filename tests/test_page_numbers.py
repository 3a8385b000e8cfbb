# SPDX-License-Identifier: Apache-2.0
"""The numbers of results in pages are those of the committed tables.

Above a table or paragraph a page says where its numbers come from, ``<!-- numbers: metrics.csv -->`` (several files
with commas, ``where psnr`` for the rows that hold this text): each number with decimals or a percent sign in it must be
one of the file's, rounded as it is written. Tables of something else have ``<!-- numbers: none, WHY -->``.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("bundles/*/docs/README.md"))]
MARK = re.compile(r"<!-- numbers: (?P<files>.+?)(?: where (?P<text>.+?))? -->")
NUMBER = re.compile(r"(?<![\w.])(-?(?:\d+\.\d+(?:e-?\d+)?|\d+e-?\d+)|-?\d+(?= ?%))")
NOT_TEXT = re.compile(r"`[^`]*`|\]\([^)]*\)|<[^>]*>")  # code, addresses, tags


def blocks(page: str) -> list[tuple[re.Match | None, str]]:
    """The page's paragraphs and tables with the mark above each."""
    page = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    found = []
    for block in re.split(r"\n\s*\n", page):
        first, _, rest = block.strip().partition("\n")
        mark = MARK.fullmatch(first.strip())
        found.append((mark, rest if mark else block))
    return found


def values(path: Path, text: str | None) -> list[float]:
    with open(path, newline="", encoding="utf-8") as f:
        rows = [row for row in csv.reader(f) if text is None or any(text in cell for cell in row)]
    numbers = []
    for cell in (cell for row in rows for cell in row):
        numbers += [float(part) for part in re.findall(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", cell)]
    return numbers


def unknown_numbers(block: str, known: list[float]) -> list[str]:
    """Numbers of a text that are none of ``known``, rounded; percent are shares or percent."""
    missing = []
    text = NOT_TEXT.sub(" ", block)
    for match in NUMBER.finditer(text):
        word = match.group(1)
        mantissa, _, exponent = word.partition("e")
        half = 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        wanted = [float(word)]
        if text[match.end() :].lstrip().startswith("%"):
            wanted.append(float(word) / 100)
        bounds = [half, half / 100]
        if not any(abs(value - want) <= 1.0001 * bound for value in known for want, bound in zip(wanted, bounds)):
            missing.append(word)
    return missing


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_numbers_of_a_page_are_those_of_its_tables(page):
    problems = []
    for mark, block in blocks(page.read_text(encoding="utf-8")):
        if mark is None:
            if block.lstrip().startswith("|") and NUMBER.search(NOT_TEXT.sub(" ", block)):
                problems.append(f"no mark above: {block.strip()[:80]!r}")
            continue
        if mark["files"].startswith("none, "):
            continue
        known = [v for name in mark["files"].split(", ") for v in values(page.parent / name, mark["text"])]
        problems += [f"{mark[0]}: {word} in {block.strip()[:60]!r}" for word in unknown_numbers(block, known)]
    assert not problems, "\n".join(problems)


def test_a_number_that_is_not_in_the_table_is_found():
    known = [0.93441, 71.48, 1e-3]
    assert unknown_numbers("| z_sem `0.5` | 0.934 (0.93) | 71.5 dB, 93 %, 93.4 %, 1e-3 | in 20 steps", known) == []
    assert unknown_numbers("0.935 and 71.4 dB, 92 %", known) == ["0.935", "71.4", "92"]
    assert unknown_numbers("-0.934", known) == ["-0.934"]
