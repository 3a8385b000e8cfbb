# SPDX-License-Identifier: Apache-2.0
"""Figures of edits beside the generator's ground truth."""

from __future__ import annotations

from pathlib import Path

import torch
from brain_pairs import Place, VentricleRuler
from matplotlib.figure import Figure

_SIZE = 1.6  # inches of an image


def _grid(path: Path, titles: list[str], rows: list[tuple[str, list[tuple[torch.Tensor, str, bool]]]]) -> None:
    """Rows of ``(label, [(image (X, Y), caption, whether it is a signed difference), ...])``."""
    figure = Figure(figsize=(_SIZE * len(titles) + 0.3, (_SIZE + 0.25) * len(rows) + 0.2), dpi=72, layout="constrained")
    for k, (axes, (label, panels)) in enumerate(zip(figure.subplots(len(rows), len(titles), squeeze=False), rows)):
        axes[0].set_ylabel(label, fontsize=8)
        for axis, title, (image, caption, signed) in zip(axes, titles, panels, strict=True):
            scale = (
                {"cmap": "seismic", "vmin": -1.2, "vmax": 1.2} if signed else {"cmap": "gray", "vmin": -1, "vmax": 1}
            )
            axis.imshow(image.numpy().T, origin="lower", **scale)
            axis.set(xticks=[], yticks=[])
            axis.set_xlabel(caption, fontsize=8)
            if k == 0:
                axis.set_title(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def draw_lesions(path: Path, shown: list[tuple[str, Place, str, str, dict]]) -> None:
    """Of each ``(edit, place, source, truth, results)`` a row: source, edit, truth, and the changes of both."""
    rows = []
    for edit, place, source, truth, out in shown:
        before, after, true = (image[0] for image in (place.variants[source], out["edit"], place.variants[truth]))
        scores = [float(out[name]) for name in ("score", "score_reencoded")]
        panels = [(before, f"score {scores[0]:.1f}", False), (after, f"score {scores[1]:.1f}", False)]
        panels += [(true, "", False), (after - before, "", True), (true - before, "", True)]
        rows.append((f"{place.subject}\n{edit}", panels))
    _grid(path, ["source", "edit", "truth", "edit - source", "truth - source"], rows)


def draw_ventricles(path: Path, shown: dict[str, list[tuple[float, Place, dict]]]) -> None:
    """Of each subject's ``(target, place, results)`` a row: the source, then each edit beside the truth."""
    rows, titles = [], ["source"]
    for subject, edits in shown.items():
        titles, place = ["source"], edits[0][1]
        panels = [(place.variants["without"][0], f"{place.enlargement_mm:.1f} mm", False)]
        for target, _, out in edits:
            titles += [f"edit to {target:g} mm", f"truth, {target:g} mm"]
            read = VentricleRuler(place).millimetres(out["edit"])
            panels += [(out["edit"][0], f"{read:.1f} mm", False), (place.variants[f"{target:g}mm"][0], "", False)]
        rows.append((subject, panels))
    _grid(path, titles, rows)
