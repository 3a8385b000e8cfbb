# SPDX-License-Identifier: Apache-2.0
"""The notebooks are those of their scripts, small, without a trace of the machine that ran them, and they run;
of people they hold no picture."""

import os
import re
import runpy
from pathlib import Path

import jupytext
import nbformat
import pytest
from hippocampi import write_hippocampi

TUTORIALS = Path(__file__).parents[1] / "tutorials"
executing = runpy.run_path(str(TUTORIALS / "execute.py"))
execute, is_of_people, without_pictures = (executing[name] for name in ("execute", "is_of_people", "without_pictures"))
SCRIPTS = sorted(TUTORIALS.glob("[0-9]*.py"))


def outputs(notebook: nbformat.NotebookNode) -> str:
    """All text that the cells have printed."""
    return "\n".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )


def pictures(notebook: nbformat.NotebookNode) -> list[str]:
    """Kinds of what the cells have shown that is no plain text."""
    shown = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    attached = [name for cell in notebook.cells for name in cell.get("attachments", {})]
    drawn = re.findall(r"data:image", nbformat.writes(notebook))
    return [kind for kind in shown if kind != "text/plain"] + attached + drawn


def test_there_are_tutorials():
    assert [script.stem.split("_")[0] for script in SCRIPTS] == ["01", "02", "03", "04"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_notebooks_are_paired_small_and_clean(script):
    file = script.with_suffix(".ipynb")
    notebook, paired = nbformat.read(file, as_version=4), jupytext.read(script)
    cells, expected = ([(cell.cell_type, cell.source) for cell in n.cells] for n in (notebook, paired))
    assert cells == expected
    assert len(cells) <= 20
    assert file.stat().st_size < 500_000
    assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", []))
    assert not re.search(r"/(home|root|work|tmp|usr)/", outputs(notebook))
    if is_of_people(notebook):
        assert not pictures(notebook)
        assert "Figure size" in outputs(notebook)  # it was drawn
    else:
        assert "image/png" in pictures(notebook)


@pytest.mark.parametrize(
    ("code", "of_people"),
    [
        ("from monai_diffae.datasets import find_hippocampus", True),
        ("MedNISTDataset(root, 'training')", True),
        ("images, labels = load_digits_arrays('test')", False),
    ],
)
def test_pictures_of_people_stay_with_those_who_run_the_notebook(code, of_people):
    png = nbformat.v4.new_output(
        "display_data", {"image/png": "iVBO", "text/html": "<img>", "text/plain": "<Figure size 640x480 with 1 Axes>"}
    )
    cells = [
        nbformat.v4.new_code_cell(code, outputs=[nbformat.v4.new_output("stream", text="3.30 ml\n")]),
        nbformat.v4.new_code_cell("plt.show()", outputs=[png]),
        nbformat.v4.new_markdown_cell("find_mednist, said only", attachments={"a.png": {"image/png": "iVBO"}}),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    assert is_of_people(notebook) == of_people
    assert len(pictures(notebook)) == 3
    assert pictures(without_pictures(notebook)) == []
    assert outputs(notebook) == "3.30 ml\n\n<Figure size 640x480 with 1 Axes>"
    nbformat.validate(notebook)


@pytest.fixture
def data_directory(tmp_path, monkeypatch):
    """Holds hippocampi that are drawn, or those of the folder that HIPPOCAMPUS names."""
    monkeypatch.setenv("MONAI_DATA_DIRECTORY", str(tmp_path))
    real = os.environ.get("HIPPOCAMPUS")
    if real is None:
        write_hippocampi(tmp_path)
    else:
        (tmp_path / "Task04_Hippocampus").symlink_to(Path(real).resolve() / "Task04_Hippocampus")


@pytest.mark.slow
@pytest.mark.usefixtures("data_directory")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_notebooks_run(script):
    notebook = execute(script)
    of_people = is_of_people(notebook)
    assert of_people == (script.stem[:2] in ("03", "04"))
    assert pictures(notebook).count("image/png") >= (1 if of_people else 4)
    if of_people:
        assert "volumes to train" in outputs(notebook)
        assert pictures(without_pictures(notebook)) == []
