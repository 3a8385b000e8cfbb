# SPDX-License-Identifier: Apache-2.0
"""What long works need in memory and time: the committed table, and a short form of each (``growth.py``)."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def rows(table: Path) -> list[dict[str, str]]:
    with open(table, newline="") as f:
        return list(csv.DictReader(f))


def test_the_committed_table_shows_no_growth():
    measured = {row["what"]: row for row in rows(HERE / "results" / "growth.csv") if row["growth in %"]}
    counts = {what: int(row["count"]) for what, row in measured.items()}
    assert counts == {"training iterations": 2000, "encoded slices": 20000}
    assert all(float(row["growth in %"]) < 5 for row in measured.values())


def test_the_committed_table_shows_a_cost_that_is_linear_in_files():
    table = {int(r["count"]): r for r in rows(HERE / "results" / "growth.csv") if r["microseconds an image"]}
    few, many = (float(table[count]["microseconds an image"]) for count in (1000, 50000))
    assert many < 1.5 * few


@pytest.mark.slow
@pytest.mark.parametrize("words", [("training", "--iterations", "200"), ("encoding", "--slices", "2000")])
def test_memory_does_not_grow(words, tmp_path):
    command = [sys.executable, "-W", "ignore", str(HERE / "growth.py"), "--table", str(tmp_path / "t.csv"), *words]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = rows(tmp_path / "t.csv")
    assert float(row["growth in %"]) < 5
