# SPDX-License-Identifier: Apache-2.0
"""Many runs into one folder, stopped, resumed and interleaved, for an hour or as long as wanted.

    python tests/interruption/soak.py --minutes 60 --home SOAK --table tests/interruption/results/soak.csv

A soak that is stopped goes on by the same command; its minutes are those of all parts together. After each round the
results are those of the first one, to the bit, and the folder has no more files and no more bytes than after it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from killing import contents, import_all, killed_after, uninterrupted  # noqa: E402
from read_materials import write_materials  # noqa: E402
from tasks import TASKS  # noqa: E402

WORKS = ("inference on a folder of volumes", "inference on a folder of pictures", "encoding", "sampling")


def size(folder: Path) -> tuple[int, int]:
    """Number of files and bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files)


def main() -> int:
    parser = argparse.ArgumentParser(description="Many runs into one folder.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    import_all()
    home = given.home.resolve()
    if not (home / "volume_weights" / "model.pt").exists():
        home.mkdir(parents=True, exist_ok=True)
        write_materials(home)
    kept = home / "soak.json"
    state = json.loads(kept.read_text()) if kept.exists() else {"seconds": 0.0, "rounds": 0, "kills": 0, "wrong": []}
    shared, firsts = home / "shared", home / "firsts"
    while state["seconds"] < 60 * given.minutes:
        start = time.monotonic()
        draw = random.Random(f"{given.seed} {state['rounds']}")
        for name in draw.sample(WORKS, len(WORKS)):
            folder = shared / name.replace(" ", "_")
            first = firsts / name.replace(" ", "_")
            if not first.exists():
                uninterrupted(TASKS[name], home, first)
            state["kills"] += killed_after(TASKS[name], home, folder, draw.uniform(0.1, 2.0))
            uninterrupted(TASKS[name], home, folder)
            if contents(folder) != contents(first):
                state["wrong"].append(f"round {state['rounds']}: {name}")
        files, total = size(shared)
        state["files"], state["bytes"] = files, total
        state.setdefault("files after the first round", files)
        state.setdefault("bytes after the first round", total)
        state["rounds"] += 1
        state["seconds"] += time.monotonic() - start
        kept.write_text(json.dumps(state))
        print(state, flush=True)
    if given.table is not None:
        row = state | {"minutes": round(state.pop("seconds") / 60), "wrong": " ".join(state["wrong"]) or 0}
        row.pop("seconds", None)
        with open(given.table, "w", newline="") as f:
            table = csv.DictWriter(f, fieldnames=list(row))
            table.writeheader()
            table.writerow(row)
    grown = state["files"] > state["files after the first round"]
    return int(bool(state["wrong"]) or grown)


if __name__ == "__main__":
    sys.exit(main())
