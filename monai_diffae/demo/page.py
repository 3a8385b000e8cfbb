# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_diffae.demo.workflows import Workflow

__all__ = ["write_page"]

_HEAD = (
    "<!doctype html><html lang='en'><meta charset='utf-8'><title>monai_diffae demo</title>"
    "<style>body{font-family:sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}img{max-width:100%}"
    "code{font-size:.75rem;word-break:break-all}td{padding:.2rem 1rem .2rem 0}</style>"
    "<h1>Diffusion autoencoders on brain slices and digits</h1>"
    "<p>Held-out volumes made from the MNI152 template with simulated lesions, the template itself, which training has "
    "not seen either, and digits of the test set. Research software, not for clinical use.</p>"
)


def write_page(
    path: Path, workflows: Sequence[Workflow], numbers: Mapping[str, str], commands: Mapping[str, str]
) -> None:
    """Write the page that shows the pictures beside it.

    Args:
        path: HTML file; the picture of a workflow is ``<name>.png``.
        workflows: in their order.
        numbers: of the table, by name.
        commands: that made the pictures, by the workflows' names.
    """
    table = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in numbers.items()
    )
    sections = "".join(
        f"<h2>{html.escape(workflow.title)}</h2><p>{html.escape(workflow.caption)}</p>"
        f"<p><code>{html.escape(commands[workflow.name])}</code></p>"
        f"<img src='{workflow.name}.png' alt='{html.escape(workflow.title)}'>"
        for workflow in workflows
    )
    path.write_text(f"{_HEAD}<table>{table}</table>{sections}</html>\n")
