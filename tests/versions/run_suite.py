# SPDX-License-Identifier: Apache-2.0
"""The tests that are not slow, in an environment of its own with the versions of a file, and a row for a table.

    make test-oldest    or    make test-newest

pip resolves the file together with the package. What it cannot find is a row, too: "not run", with its words.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHOWN = ("torch", "monai", "monai-weekly", "numpy", "pytorch-ignite", "scipy", "scikit-learn")
EXTRAS = "demo,dicom,itk,nrrd,parquet,train,tutorials,test"  # what its tests need; those of others are skipped
COLUMNS = ("date", "versions", "python", *SHOWN, "tests", "result")


def environment(folder: Path, versions: Path) -> str:
    """Make it; returns what pip says where that fails, else nothing."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--upgrade"]
    weekly = any(line.startswith("monai-weekly") for line in versions.read_text().splitlines())
    steps = [["-r", str(versions), "-e", f"{ROOT}[{EXTRAS}]"]]
    if weekly:  # its package has the name monai, too: ours comes without what it needs
        steps = [["-r", str(versions)], ["--no-deps", "-e", str(ROOT)], extras_of_package()]
    for step in steps:
        done = subprocess.run([*pip, *step], capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            return " ".join((done.stderr.strip().splitlines() or ["pip has failed"])[-1].split())
    return ""


def extras_of_package() -> list[str]:
    """The packages of setup.cfg but MONAI, by name."""
    from configparser import ConfigParser

    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = config["options"]["install_requires"].split()
    for extra in EXTRAS.split(","):
        wanted += config["options.extras_require"][extra].split()
    return [name for name in wanted if not name.startswith("monai")]


def installed(folder: Path) -> dict[str, str]:
    listed = [str(folder / "bin" / "python"), "-m", "pip", "list", "--format", "freeze"]
    lines = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
    found = dict(line.split("==", 1) for line in lines if "==" in line)
    return {name: found.get(name, "") for name in SHOWN}


def suite(folder: Path, jobs: str, tests: list[str]) -> str:
    """Its last line, such as "1200 passed, 3 skipped in 900 s"."""
    command = [str(folder / "bin" / "python"), "-m", "pytest", "-q", "-n", jobs, "--dist", "loadfile", "-m", "not slow"]
    command += tests
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    print(done.stdout[-20_000:])
    lines = done.stdout.strip().splitlines() or ["1 error: pytest did not start"]
    return lines[-1].strip("= ")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the tests with other versions.")
    parser.add_argument("--versions", type=Path, required=True)
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--jobs", default="auto")
    parser.add_argument("--tests", nargs="*", default=[], help="files and folders; all by default")
    given = parser.parse_args()
    problem = environment(given.venv, given.versions.resolve())
    result = f"not run: {problem}" if problem else suite(given.venv, given.jobs, given.tests)
    row = {"date": datetime.date.today().isoformat(), "versions": given.versions.stem, "result": result}
    row["tests"] = " ".join(given.tests) or "all"
    row |= {"python": sys.version.split()[0]} | installed(given.venv)
    rows = []
    if given.table.exists():
        with open(given.table, newline="") as f:
            same = ("versions", "tests")
            rows = [old for old in csv.DictReader(f) if any(old[key] != row[key] for key in same)]
    with open(given.table, "w", newline="") as f:
        table = csv.DictWriter(f, fieldnames=COLUMNS)
        table.writeheader()
        table.writerows([*rows, row])
    return int(bool(problem) or " failed" in result or " error" in result)


if __name__ == "__main__":
    sys.exit(main())
