# SPDX-License-Identifier: Apache-2.0
"""Works that are killed and started again: a short form of kill_hundred.py, and the hundred."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, process groups and /proc")


def killed(kills: int, seed: int, tmp_path: Path, *works: str) -> list[dict[str, str]]:
    """In a new interpreter: one that has computed may not fork."""
    table = tmp_path / "kills.csv"
    command = [sys.executable, "-W", "ignore", str(HERE / "kill_hundred.py"), "--kills", str(kills)]
    command += ["--seed", str(seed), "--table", str(table), "--works", json.dumps(works)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(table, newline="") as f:
        return list(csv.DictReader(f))


def test_a_few_killed_works_end_as_if_nothing_had_happened(tmp_path):
    works = ["training of the autoencoder", "inference on a folder of volumes", "generation of data"]
    rows = killed(6, 1, tmp_path, *works)
    assert [row["work"] for row in rows] == works
    assert sum(int(row["kills"]) for row in rows) == 6


@pytest.mark.slow
def test_a_hundred_killed_works_end_as_if_nothing_had_happened(tmp_path):
    assert sum(int(row["kills"]) for row in killed(100, 0, tmp_path)) == 100


def test_the_committed_table_shows_no_loss():
    with open(HERE / "results" / "kills.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert sum(int(row["kills"]) for row in rows) == 100  # as docs/reliability.md says
    assert sum(int(row["while a file was written"]) for row in rows) == 80
    for column in ("files that differ", "files left incomplete", "times that work was lost"):
        assert {row[column] for row in rows} == {"0"}


def test_the_committed_soak_left_what_one_run_leaves():
    with open(HERE / "results" / "soak.csv", newline="") as f:
        (row,) = csv.DictReader(f)
    assert row["wrong"] == "0"
    assert row["files"] == row["files after the first round"]
    assert int(row["bytes"]) < 1.01 * int(row["bytes after the first round"])
    assert (int(row["minutes"]), int(row["rounds"]), int(row["kills"])) == (60, 167, 522)  # as docs/reliability.md says
