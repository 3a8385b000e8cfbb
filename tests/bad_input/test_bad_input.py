# SPDX-License-Identifier: Apache-2.0
"""What users type or give by mistake, and the lines that come back (``table.yaml``).

``PICTURES``, ``VOLUMES`` and ``TRAINING`` stand for a bundle with good data and an output folder; ``...`` for what a
library says and may say otherwise in its next version. Results that are complete may stay (``leaves``).
``python tests/bad_input/test_bad_input.py [WORD] [START]`` prints the table as it is.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
import torch
import yaml
from in_process import Ended, run_module
from materials import write_materials

BUNDLES = Path(__file__).parents[2] / "bundles"
STANDS_FOR = {
    "PICTURES": "natural_images_diffae --dataset_dir digits --output_dir out --progress false",
    "VOLUMES": "brain_slices_diffae --dataset_dir volumes --output_dir out --progress false --num_slices 1 "
    "--inversion explicit --num_inference_steps 2",
    "TRAINING": "natural_images_diffae --dataset_dir digits --output_dir out --max_iterations 1",
    "ROOT": f"--bundle_root {BUNDLES / 'natural_images_diffae'}",
}
ROWS = yaml.safe_load(Path(__file__).with_name("table.yaml").read_text())


def typed(row: dict) -> Ended:
    """The command of a row, in the folder of the materials."""
    words = [
        word for part in shlex.split(row["typed"]) for word in shlex.split(STANDS_FOR.get(part, shlex.quote(part)))
    ]
    module = "monai_diffae"
    if words[:2] == ["python", "-m"]:
        module, words = words[2], words[3:]
    return run_module(module, *words)


def answer(done: Ended, home: Path) -> str:
    """What is left on the screen: the lines behind the traceback, or its last line."""
    last = done.stderr.strip().split("\n\n")[-1]
    kept = last.splitlines()[-1:] if "Traceback (most recent call last)" in last else last.splitlines()
    text = "\n".join(line.strip() for line in kept if not line.startswith(("usage:", " ")))
    return text.replace(f"{home}/", "").replace(f"{BUNDLES}/", "")


def files(home: Path) -> dict[str, tuple[int, int]]:
    return {str(path.relative_to(home)): (path.stat().st_size, path.stat().st_mtime_ns) for path in home.rglob("*")}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("home")
    write_materials(home)
    return home


@pytest.mark.parametrize("row", ROWS, ids=[row["typed"] for row in ROWS])
def test_each_mistake_has_its_answer_and_leaves_nothing(row, home, monkeypatch):
    monkeypatch.chdir(home)
    before = files(home)
    done = typed(row)
    assert done.returncode != 0
    said = answer(done, home)
    pattern = ".*".join(map(re.escape, row["says"].strip().split("...")))
    assert re.fullmatch(pattern, said, flags=re.DOTALL), said
    assert len(said.splitlines()) <= 2
    assert row.get("given", "") in said
    left = {path: state for path, state in files(home).items() if before.get(path) != state}
    assert {Path(path).name for path in left} <= set(row.get("leaves", []))
    shutil.rmtree("out", ignore_errors=True)
    assert "code of a file was run" not in done.stdout + done.stderr


def test_the_table_is_long_and_names_what_was_given():
    assert len({row["typed"] for row in ROWS}) == len(ROWS) >= 100


def main(word: str = "", start: str = "0") -> None:
    """Print the rows that contain a word, from a number on, with what comes back now; ``?``: those without one."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve() / "home"
        home.mkdir()
        write_materials(home)
        os.chdir(home)
        torch.manual_seed(0)
        for row in ROWS[int(start) :]:
            if word in row["typed"] or (word == "?" and "says" not in row):
                before = files(home)
                signal.alarm(60)
                with contextlib.redirect_stdout(io.StringIO()):  # what was printed before the streams were captured
                    done = typed(row)
                left = sorted(set(files(home)) ^ set(before))
                print(f"- typed: {row['typed']}\n  says: {answer(done, home)!r}", flush=True)
                print(f"  # {done.returncode}, left: {left[:4]}" if left or not done.returncode else "", flush=True)
                for path in map(home.joinpath, left[:1]):
                    os.system(f"rm -rf {shlex.quote(str(home / path.relative_to(home).parts[0]))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
