# SPDX-License-Identifier: Apache-2.0
"""The notebooks are those of their scripts, small, without a trace of the machine that ran them, and they run."""

import re
import runpy
from pathlib import Path

import jupytext
import nbformat
import pytest

TUTORIALS = Path(__file__).parents[1] / "tutorials"
execute = runpy.run_path(str(TUTORIALS / "execute.py"))["execute"]
SCRIPTS = sorted(TUTORIALS.glob("[0-9]*.py"))


def outputs(notebook: nbformat.NotebookNode) -> str:
    """All text that the cells have printed."""
    return "\n".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )


def test_there_is_a_tutorial():
    assert [script.stem.split("_")[0] for script in SCRIPTS] == ["01", "02"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_notebooks_are_paired_small_and_clean(script):
    file = script.with_suffix(".ipynb")
    notebook, paired = nbformat.read(file, as_version=4), jupytext.read(script)
    cells, expected = ([(cell.cell_type, cell.source) for cell in n.cells] for n in (notebook, paired))
    assert cells == expected
    assert len(cells) <= 20
    assert file.stat().st_size < 500_000
    assert any("image/png" in str(output) for cell in notebook.cells for output in cell.get("outputs", []))
    assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", []))
    assert not re.search(r"/(home|root|work|tmp|usr)/", outputs(notebook))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_notebooks_run(script, tmp_path, monkeypatch):
    monkeypatch.setenv("MONAI_DATA_DIRECTORY", str(tmp_path))
    notebook = execute(script)
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) >= 4
