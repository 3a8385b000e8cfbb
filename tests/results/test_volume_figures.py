# SPDX-License-Identifier: Apache-2.0
"""A figure of every volume, and texts of figures that keep apart."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import FlattenSubKeysd
from PIL import Image

from monai_diffae.data import VolumeSlices, WholeVolumes
from monai_diffae.results import VolumeFigureSaver
from monai_diffae.results.fitted_text import fit_texts
from monai_diffae.results.panels import FigureRow, FigureStyle, draw_figure, save_figure

COLUMNS = [
    {"key": "image", "title": "original"},
    {"key": "edit", "title": "edit", "caption": "score"},
    {"key": "difference", "title": "difference", "signed": True},
]
AFFINE = torch.tensor([[-2.0, 0, 0, 10], [0, 3, 0, -20], [0, 0, 4, 30], [0, 0, 0, 1]])


def volumes(tmp_path: Path, count: int = 2, size: int = 9) -> list[dict]:
    """Volumes whose planes have grey levels of their own."""
    levels = torch.linspace(-1, 1, size).expand(1, size, size, size)
    names = [str(tmp_path / "data" / f"sub-{k}" / "T1.nii.gz") for k in range(count)]
    return [{"image": MetaTensor(levels.clone(), AFFINE, {"filename_or_obj": name})} for name in names]


def change(inputs: torch.Tensor, network: torch.nn.Module) -> dict:
    """The brighter, the more is changed; the score tells the brightness."""
    x = inputs.as_tensor()
    amount = (0.1 * (x + 1)).clone()
    return {"edit": x + amount, "difference": amount, "score": x.flatten(1).mean(dim=1)}


def run(tmp_path: Path, device: str, items: list[dict] | None = None, inferer=change, dims: int = 2, **options) -> Path:
    items = volumes(tmp_path) if items is None else items
    saver = VolumeFigureSaver(
        tmp_path / "out", options.pop("columns", COLUMNS), tmp_path / "data", spatial_dims=dims, **options
    )
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(VolumeSlices(items) if dims == 2 else WholeVolumes(items), batch_size=4),
        network=torch.nn.Identity(),
        inferer=inferer,
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[saver],
    ).run()
    return tmp_path / "out"


@pytest.fixture
def drawn(monkeypatch) -> list[tuple[list[FigureRow], str]]:
    """Rows and heading of every figure that is drawn."""
    calls = []

    def spy(path, columns, rows, style, heading=""):
        calls.append((list(rows), heading))
        save_figure(path, columns, rows, style, heading)

    monkeypatch.setattr("monai_diffae.results.volume_figures.save_figure", spy)
    return calls


def test_every_volume_has_a_figure_named_as_its_other_results(tmp_path, device):
    out = run(tmp_path, device)
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert [file for file in files if not file.startswith(".resume")] == [f"sub-{k}/T1_figure.png" for k in range(2)]
    assert not list(out.rglob("*.partial*"))
    assert Image.open(out / "sub-0/T1_figure.png").format == "PNG"


def test_evenly_spaced_slices_are_shown_with_their_index_and_place_in_the_world(tmp_path, device, drawn):
    run(tmp_path, device, max_rows=3)
    assert [heading for _, heading in drawn] == ["sub-0/T1", "sub-1/T1"]
    for rows, _ in drawn:
        # (8 / 2) voxels of -2 and 3 mm from the origin.
        assert [row.label for row in rows] == [f"axial slice {k}\n(2.0, -8.0, {30 + 4 * k:.1f}) mm" for k in (0, 4, 8)]
        assert [row.captions["score"][0] for row in rows] == pytest.approx([-1, 0, 1])


def test_of_edits_the_slices_with_the_largest_change_are_shown_in_their_order(tmp_path, device, drawn):
    run(tmp_path, device, max_rows=2, largest="difference")
    for rows, _ in drawn:
        assert [row.label.split("\n")[0] for row in rows] == ["axial slice 7", "axial slice 8"]


@pytest.mark.parametrize(("largest", "axial"), [(None, 4), ("difference", 8)])
def test_a_whole_volume_has_three_orthogonal_cuts(tmp_path, device, drawn, largest, axial):
    run(tmp_path, device, dims=3, largest=largest)
    assert len(drawn) == 2
    first, second, third = drawn[0][0]
    assert first.label == f"axial slice {axial}\n(2.0, -8.0, {30 + 4 * axial:.1f}) mm"
    middle = 0 if largest else 4  # where all planes are equal, the first is as good as any
    assert second.label.startswith(f"coronal slice {middle}\n(2.0, {-20 + 3 * middle:.1f}, 46.0)")
    assert third.label.startswith(f"sagittal slice {middle}\n")
    assert first.images["image"].unique().numel() == 1
    assert second.images["image"].unique().numel() == 9
    assert [bool(row.captions) for row in drawn[0][0]] == [False, False, True]


def times(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.rglob("*_figure.png")}


def test_a_run_that_goes_on_draws_only_what_is_missing_or_has_changed(tmp_path, device):
    before = times(run(tmp_path, device, overwrite=False))
    assert times(run(tmp_path, device, overwrite=False)) == before
    (tmp_path / "out/sub-1/T1_figure.png").unlink()
    missing = times(run(tmp_path, device, overwrite=False))
    assert missing["sub-0"] == before["sub-0"]
    assert missing["sub-1"] > before["sub-1"]
    (tmp_path / "out/sub-0/T1_figure.png").write_bytes(b"half")
    other = [volumes(tmp_path)[0]]
    assert times(run(tmp_path, device, other, overwrite=False))["sub-0"] > before["sub-0"]
    assert Image.open(tmp_path / "out/sub-0/T1_figure.png").format == "PNG"

    def more(inputs: torch.Tensor, network: torch.nn.Module) -> dict:
        found = change(inputs, network)
        return found | {"edit": found["edit"] + 0.01}

    changed = times(run(tmp_path, device, inferer=more, overwrite=False))
    assert all(changed[name] > missing[name] for name in changed)
    again = times(run(tmp_path, device, inferer=more, overwrite=True))
    assert all(again[name] > changed[name] for name in again)


def test_a_killed_run_leaves_whole_figures_and_the_next_one_draws_the_others(tmp_path, device, monkeypatch):
    replaced = []

    def die(source: os.PathLike, target: os.PathLike) -> None:
        replaced.append(target)
        if len([path for path in replaced if str(path).endswith(".png")]) == 2:
            raise KeyboardInterrupt
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("monai_diffae.support.atomic_files.os.replace", die)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, device, overwrite=False)
    first = times(tmp_path / "out")
    assert list(first) == ["sub-0"]
    second = times(run(tmp_path, device, overwrite=False))
    assert second["sub-0"] == first["sub-0"]
    assert set(second) == {"sub-0", "sub-1"}
    assert not list((tmp_path / "out").rglob("*.partial*"))


def test_one_volume_is_held_at_a_time(tmp_path, device, monkeypatch):
    held = []
    complete = VolumeFigureSaver._complete

    def watched(self):
        held.append(len(self._slices))
        complete(self)
        assert self._slices == []

    monkeypatch.setattr(VolumeFigureSaver, "_complete", watched)
    run(tmp_path, device, volumes(tmp_path, 5, 6), max_rows=1)
    assert max(held) == 6
    assert held.count(6) == 5


def test_the_colours_span_the_differences_that_are_shown_and_a_bar_says_so():
    image, change = torch.zeros(1, 4, 4), torch.full((1, 4, 4), 0.0131)
    rows = [FigureRow("a", {"image": image, "edit": image, "difference": change}, {"score": [1.0]})]
    figure = draw_figure(COLUMNS, rows, FigureStyle(difference_range=None, colour_bar=True))
    page, bar = figure.axes
    assert bar.get_ylim() == pytest.approx((-0.015, 0.015))
    assert [text.get_text() for text in page.texts if text.get_text()[0].isalpha()] == [
        *("original", "a", "edit", "difference"),
    ]
    fixed = draw_figure(COLUMNS, rows, FigureStyle(difference_range=0.5))
    (page,) = fixed.axes
    assert "difference (blue -0.5, red +0.5)" in [text.get_text().replace("\n", " ") for text in page.texts]
    none = [FigureRow("a", {"image": image, "edit": image, "difference": image}, {"score": [1.0]})]
    assert draw_figure(COLUMNS, none, FigureStyle(difference_range=None, colour_bar=True)).axes[-1].get_ylim()[1] > 0


def test_results_that_the_columns_lack_are_named_with_what_to_do(tmp_path, device):
    columns = [*COLUMNS, {"key": "image_to", "title": "to"}]
    with pytest.raises(ValueError, match=r"image_to.*--volume_figures false"):
        run(tmp_path, device, columns=columns)


@pytest.mark.parametrize("options", [{"max_rows": 0}, {"columns": [{"key": "image"}]}, {"dims": 4}], ids=str)
def test_settings_that_cannot_be_are_refused(tmp_path, device, options):
    with pytest.raises(ValueError, match=r"max_rows must be|A column has|spatial_dims must be"):
        run(tmp_path, device, **options)


@pytest.mark.parametrize("num_rows", [1, 3])
@pytest.mark.parametrize(
    "titles",
    [
        ["short", "a title of many words that would run into its neighbours on both sides of it"],
        ["is_8 +25% to mean: difference", "is_8 +50% to mean: difference", "is_8 +75% to mean: difference"],
        ["ventricle_to_brain_volume_ratio_by_template"] * 6,
        ["W" * 60] * 2,
        ["$a$ and $b"] * 2,
    ],
    ids=lambda titles: titles[-1][:12],
)
def test_titles_captions_and_labels_keep_apart(titles, num_rows):
    shape = (len(titles), 1, 5, 5)
    columns = [
        {"key": "edit", "title": titles, "caption": ["score", "score"]},
        {"key": "edit", "title": [f"{title}: difference" for title in titles], "signed": True},
    ]
    label = "sub-0001_ses-baseline_acq-highres_T1w_of_a_rather_long_name\nslice 3\nscore +0.1"
    rows = [FigureRow(label, {"edit": torch.zeros(shape)}, {"score": [-1.23456e-5] * len(titles)})] * num_rows
    figure = draw_figure(columns, rows, FigureStyle(), heading="sub-0001/" * 40)
    figure.draw_without_rendering()
    (page,) = figure.axes
    boxes = [text.get_window_extent() for text in page.texts]
    assert len(boxes) == (2 + num_rows) * len(titles) + num_rows + 1
    assert len(page.images) == 2 * len(titles) * num_rows
    boxes += [image.get_window_extent() for image in page.images]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    width, height = figure.get_size_inches() * figure.dpi
    for box in boxes:
        assert -1 <= box.x0 <= box.x1 <= width + 1
        assert -1 <= box.y0 <= box.y1 <= height + 1


def test_text_is_broken_at_spaces_then_in_words_then_made_smaller_then_broken_anywhere():
    def width_of(line: str, size: float) -> float:
        return len(line) * size

    assert fit_texts(["one two three"], width_of, 80, (10, 5)) == (["one two\nthree"], 10)
    assert fit_texts(["left_lesion is"], width_of, 80, (10, 5)) == (["left_\nlesion\nis"], 10)
    assert fit_texts(["unbreakable", "ab"], width_of, 80, (10, 5)) == (["unbreakable", "ab"], 5)
    assert fit_texts(["abcdefgh"], width_of, 20, (10, 5)) == (["abcd\nefgh"], 5)
    assert fit_texts(["a b c d e"], width_of, 20, (20, 10), max_lines=2) == (["a\nb\nc\nd\ne"], 10)
    assert fit_texts(["own\nlines"], width_of, 80, (10,)) == (["own\nlines"], 10)


def test_the_file_shows_the_images_in_their_grey_levels(tmp_path, device):
    columns = [{"key": "image", "title": "a"}]
    pixels = matplotlib.image.imread(run(tmp_path, device, columns=columns, max_rows=3) / "sub-0/T1_figure.png")
    for level in (0.0, 0.5, 1.0):  # the planes at both ends and in the middle
        assert (np.abs(pixels[..., :3] - level).max(axis=-1) < 0.01).sum() > 3000
