# SPDX-License-Identifier: Apache-2.0
"""Makes the notebooks from their scripts and runs them: ``python tutorials/execute.py [SCRIPT ...]``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

TUTORIALS = Path(__file__).parent


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


def main() -> None:
    scripts = [Path(name) for name in sys.argv[1:]] or sorted(TUTORIALS.glob("[0-9]*.py"))
    for script in scripts:
        print(script, flush=True)
        notebook = execute(script)
        for k, cell in enumerate(notebook.cells):
            cell.id = str(k)  # drawn at random otherwise
        nbformat.write(notebook, script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
