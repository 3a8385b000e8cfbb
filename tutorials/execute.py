# SPDX-License-Identifier: Apache-2.0
"""Makes the notebooks from their scripts and runs them: ``python tutorials/execute.py [SCRIPT ...]``."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

TUTORIALS = Path(__file__).parent
_OF_PEOPLE = re.compile(r"find_(hippocampus|mednist)|DecathlonDataset|MedNISTDataset")


def execute(script: Path) -> nbformat.NotebookNode:
    """The notebook of a script in the percent format, with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    # What a shell in a notebook calls python is the one that runs this.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    notebook = jupytext.read(script)
    resources = {"metadata": {"path": str(TUTORIALS)}}
    NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the time of day
        if cell.cell_type == "code":  # progress bars and warnings name the machine, as MONAI's print_config does
            named = "print_config()" in cell.source
            cell.outputs = [] if named else [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def is_of_people(notebook: nbformat.NotebookNode) -> bool:
    """Whether its code reads images of people, of which no picture may go out."""
    return any(cell.cell_type == "code" and _OF_PEOPLE.search(cell.source) for cell in notebook.cells)


def without_pictures(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Only the text of its outputs, which is what a figure's object says of itself, and the text of its cells."""
    for cell in notebook.cells:
        cell.pop("attachments", None)
        for output in cell.get("outputs", []):
            if "data" in output:
                output.data = {kind: data for kind, data in output.data.items() if kind == "text/plain"}
                output.metadata = {}
    return notebook


def main() -> None:
    scripts = [Path(name) for name in sys.argv[1:]] or sorted(TUTORIALS.glob("[0-9]*.py"))
    for script in scripts:
        print(script, flush=True)
        notebook = execute(script)
        if is_of_people(notebook):
            notebook = without_pictures(notebook)
        for k, cell in enumerate(notebook.cells):
            cell.id = str(k)  # drawn at random otherwise
        nbformat.write(notebook, script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
