# SPDX-License-Identifier: Apache-2.0
"""A short form of mutate_files.py, whose counts of 10,000 mutations are in results/mutations.csv."""

import csv
import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import mutate_files


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are Linux's")
def test_damaged_files_end_in_results_or_clear_errors():
    kinds = list(mutate_files.KINDS)
    endings = mutate_files.run(seed=1, kinds=kinds, mutations=20 * len(kinds))
    assert len(endings) == 20 * len(kinds)
    wrong = {f"{n} {kinds[n % len(kinds)]}": end for n, end in endings.items() if end not in ("result", "error")}
    assert wrong == {}
    assert {"result", "error"} == set(endings.values())


def test_worker_that_is_killed_or_hangs_is_told_and_the_others_go_on(monkeypatch):
    def read(path: str) -> object:
        if b"kill" in Path(path).read_bytes():
            os.kill(os.getpid(), signal.SIGSEGV)
        raise KeyError(path)

    monkeypatch.setitem(mutate_files.KINDS, "own", (".x", [lambda: b""], read))
    monkeypatch.setattr(
        mutate_files, "mutation", lambda seed, kinds, number: ("own", ".x", b"kill" if number == 2 else b"")
    )
    endings = mutate_files.run(seed=0, kinds=["own"], mutations=4)
    assert endings[2] == "killed by SIGSEGV"
    assert [endings[n].split(":")[0] for n in (0, 1, 3)] == ["KeyError"] * 3


def test_mutations_are_functions_of_seed_and_number():
    kinds = ["nifti", "png"]
    first, again, other = (mutate_files.mutation(seed, kinds, 5) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first[0] == "png"


def test_committed_counts_are_of_all_kinds_and_without_failures():
    with open(Path(mutate_files.__file__).parent / "results" / "mutations.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == set(mutate_files.KINDS)
    assert sum(int(row["mutations"]) for row in rows) >= 10_000
    assert sum(int(row["otherwise"]) for row in rows) == 0
