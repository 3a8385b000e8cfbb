# SPDX-License-Identifier: Apache-2.0
"""Kill a hundred processes, or as many as wanted, and write what became of their works.

python tests/interruption/kill_hundred.py --kills 100 --seed 0 --table tests/interruption/results/kills.csv
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from killing import import_all, interrupt  # noqa: E402
from read_materials import write_materials  # noqa: E402
from tasks import TASKS  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--works", type=json.loads, help="JSON list of names; all by default")
    given = parser.parse_args()
    works = given.works or list(TASKS)
    rows = []
    import_all()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_materials(home)
        for k, name in enumerate(works):
            share = given.kills // len(works) + (k < given.kills % len(works))
            found = interrupt(name, home, home / f"work{k}", share, given.seed)
            rows.append(
                {
                    "work": found.task,
                    "seed": given.seed,
                    "kills": found.kills,
                    "while a file was written": found.while_writing,
                    "processes": found.attempts,
                    "files that differ": " ".join(found.differing) or 0,
                    "files left incomplete": " ".join(found.left) or 0,
                    "times that work was lost": found.lost,
                }
            )
            print(rows[-1], flush=True)
    if given.table is not None:
        with open(given.table, "w", newline="") as f:
            table = csv.DictWriter(f, fieldnames=list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    wrong = ("files that differ", "files left incomplete", "times that work was lost")
    return int(any(row[column] for row in rows for column in wrong))


if __name__ == "__main__":
    sys.exit(main())
