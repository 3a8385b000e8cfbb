# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from monai_diffae.demo.workflows import Workflow

__all__ = ["write_page"]

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>monai_diffae demo</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
img { max-width: 100%; max-height: 40rem; cursor: zoom-in }
pre { background: #f2f2f2; padding: .6rem .8rem; white-space: pre-wrap; user-select: all }
nav ol { columns: 20rem }
td { padding: .1rem 1.5rem .1rem 0 }
td:last-child, code { white-space: nowrap }
h2 { margin-top: 2.5rem }
</style>
<h1>Diffusion autoencoders on radiographs, CT, MRI, brain slices and digits</h1>
<p>Models of real images: radiographs, CT and MRI (MedNIST), and hippocampi of T1 volumes (Medical Segmentation
Decathlon), on images that they have not seen. Then held-out volumes made from the MNI152 template with simulated
lesions, the template itself, and digits of the test set. Research software, not for clinical use.</p>
$left_out<h2>What to look at first</h2>
<ul>
$first
</ul>
<nav>
<h2>Contents</h2>
<ol>
$contents
</ol>
</nav>
<h2>Numbers</h2>
<table>
$table
</table>
<p>A click on a picture opens it in its own size, one on a command selects it whole. Commands run in the folder where
the demo ran, with its environment (<code>. .venv/bin/activate</code>).</p>
$sections
</html>
""")
_FIRST = (
    ("real_samples", "hands, heads, chests and abdomens of nobody"),
    (
        "hippocampus_edit",
        "the borders of the grey body move a little inward or outward; what is around it changes, too",
    ),
    ("manipulation", "rows at the top: a lesion on the left vanishes at -0.6; rows at the bottom: one appears at 0.8"),
    ("reconstruction", "the error with encoded x_T is white; with a random x_T the folds of the brain are others"),
    ("digits_towards_8", "each digit becomes an 8 and keeps its slant and the thickness of its strokes"),
)


def write_page(
    path: Path,
    workflows: Sequence[Workflow],
    numbers: Mapping[str, str],
    commands: Mapping[str, str],
    left_out: Sequence[str] = (),
) -> None:
    """Write the page that shows the pictures beside it.

    Args:
        path: HTML file; the picture of a workflow is ``<name>.png``.
        workflows: in their order.
        numbers: of the table, by name.
        commands: that make the pictures, by the workflows' names.
        left_out: what could not run, and why.
    """
    titles = {workflow.name: html.escape(workflow.title) for workflow in workflows}
    first = "\n".join(f'<li><a href="#{name}">{titles[name]}</a>: {text}.' for name, text in _FIRST if name in titles)
    contents = "\n".join(f'<li><a href="#{name}">{title}</a>' for name, title in titles.items())
    table = "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in numbers.items()
    )
    sections = "\n".join(_section(workflow, commands[workflow.name]) for workflow in workflows)
    absent = f"<p>Left out. {html.escape('. '.join(left_out))}.</p>\n" if left_out else ""
    path.write_text(_PAGE.substitute(first=first, contents=contents, table=table, sections=sections, left_out=absent))


def _section(workflow: Workflow, command: str) -> str:
    title = html.escape(workflow.title)
    return (
        f'<h2 id="{workflow.name}">{title}</h2>\n<p>{html.escape(workflow.caption)}</p>\n'
        f"<pre>{html.escape(command)}</pre>\n"
        f'<a href="{workflow.name}.png"><img src="{workflow.name}.png" alt="{title}"></a>'
    )
