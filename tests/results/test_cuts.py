# SPDX-License-Identifier: Apache-2.0
"""Volumes in figures and montages: three orthogonal cuts."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from PIL import Image

from monai_diffae.results import FigureSaver, MontageSaver
from monai_diffae.results.cuts import cut_names, cut_places, cut_volume

RAS = torch.eye(4)
LINE = 0.14  # inches of a title's second line, which says what colours stand for
ASR = torch.tensor([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # axes to anterior, superior and right


@pytest.mark.parametrize(
    ("affine", "names"), [(RAS, ["axial", "coronal", "sagittal"]), (ASR, ["sagittal", "axial", "coronal"])]
)
def test_cuts_are_called_by_what_they_show(affine, names):
    assert cut_names(affine) == names


def test_cuts_go_through_the_middle_or_where_most_is():
    assert cut_places((8, 10, 7)) == [3, 5, 4]
    where = torch.zeros(2, 1, 8, 10, 7)
    assert cut_places((8, 10, 7), where) == [3, 5, 4]
    where[0, 0, 1, 2, 6], where[1, 0, 1, 2, 6], where[1, 0, 4, 4, 4] = -1, -1, 1.5
    assert cut_places((8, 10, 7), where) == [6, 2, 1]


def test_cuts_are_planes_of_the_volume():
    volume = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    axial, coronal, sagittal = cut_volume(volume, [4, 2, 0])
    assert axial.equal(volume[..., 4])
    assert coronal.equal(volume[..., 2, :])
    assert sagittal.equal(volume[:, 0])


def draw(tmp_path, device: str, items: list[dict], **options) -> np.ndarray:
    """The figure of an image and an edit, red where the edit is larger."""
    engine = Engine(lambda engine, batch: batch)
    columns = [{"key": "image", "title": "a"}, {"key": "edit", "title": "b", "minus": "image", "caption": "score"}]
    FigureSaver(tmp_path / "a.png", columns, spatial_dims=3, **options).attach(engine)
    engine.state.batch = engine.state.output = None
    for item in items:
        image = MetaTensor(item["image"].to(device), affine=RAS, meta={"filename_or_obj": "x/a.nii.gz"})
        item |= {"image": image, "edit": item["edit"].to(device)}
    engine.run([items])
    return matplotlib.image.imread(tmp_path / "a.png")[..., :3]


def red(figure: np.ndarray) -> np.ndarray:
    """Which of the three rows show a change."""
    is_red = (np.abs(figure - np.array([0.5, 0, 0])).max(axis=-1) < 0.02).any(axis=1)
    return np.array([part.any() for part in np.array_split(is_red, 3)])


@pytest.mark.parametrize(("cuts_at", "shown"), [(None, [False] * 3), ("edit", [True] * 3)])
def test_a_volume_has_three_rows_through_its_middle_or_through_the_change(tmp_path, device, cuts_at, shown):
    image, edit = torch.zeros(1, 8, 8, 8), torch.zeros(1, 8, 8, 8)
    edit[:, 1:3, 1:3, 5:7] = 2
    figure = draw(tmp_path, device, [{"image": image, "edit": edit, "score": 1.5}], cuts_at=cuts_at)
    assert figure.shape[:2] == (int(110 * (1.65 * 3 + 0.4 + LINE)), int(110 * (1.6 * 2 + 0.9)))
    assert red(figure).tolist() == shown


def test_a_series_of_volumes_is_spread_over_columns_and_the_extremes_are_shown(tmp_path, device):
    steps = torch.tensor([0.0, 1.0, 2.0]).reshape(3, 1, 1, 1, 1).expand(3, 1, 4, 5, 6)
    items = [
        {"image": torch.zeros(1, 4, 5, 6), "edit": steps * k, "score": torch.tensor([0.1, 0.2, 0.3]), "rank": float(k)}
        for k in range(5)
    ]
    figure = draw(tmp_path, device, items, rank_by="rank", max_rows=2)
    np.testing.assert_allclose(figure.shape[:2], (110 * (1.65 * 6 + 0.4 + LINE), 110 * (1.6 * 4 + 0.9)), atol=1)
    half = len(figure) // 2  # the highest above: its third edit is red, the lowest has none
    assert red(figure[:half]).all()
    assert not red(figure[half:]).any()


def test_a_montage_shows_three_cuts_of_a_volume_side_by_side(tmp_path):
    volume = torch.full((1, 8, 10, 16), -1.0)
    volume[..., 8] = 1  # the axial cut is white, the others have a white line
    engine = Engine(lambda engine, batch: batch)
    MontageSaver(tmp_path / "a.png", "sample", spatial_dims=3).attach(engine)
    engine.run([[{"sample": volume}] * 2])
    pixels = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    assert pixels.shape == (16 * 8, 2 * 8 * (8 + 8 + 10) + 2, 3)
    assert (pixels[: 10 * 8, : 8 * 8] == 255).all()
    assert (pixels[10 * 8 :, : 8 * 8] == 0).all()
    assert ((pixels[:, 8 * 8 : 8 * 26, 0] == 255).sum(axis=0) == 8).all()


@pytest.mark.parametrize("saver", [FigureSaver, MontageSaver])
def test_only_images_and_volumes_can_be_drawn(tmp_path, saver):
    with pytest.raises(ValueError, match=r"spatial_dims must be 2 \(images\) or 3 \(volumes\), got 4"):
        saver(tmp_path / "a.png", [], spatial_dims=4)
