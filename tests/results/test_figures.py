# SPDX-License-Identifier: Apache-2.0
"""Figures are read back, and images are told from each other by their colours."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import FlattenSubKeysd

from monai_diffae.results import FigureSaver

RED, GREEN, BLUE, YELLOW = (1, -1, -1), (-1, 1, -1), (-1, -1, 1), (1, 1, -1)
PLUS_HALF, MINUS_HALF = (0.5, 0, 0), (0, 0, 0.3)  # ends of matplotlib's seismic


def colour(value: tuple, shape: tuple = (6, 6)) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float32).reshape(-1, 1, 1).expand(-1, *shape).clone()


def draw(tmp_path: Path, device: str, items: list[dict], columns: list[dict], batch_size: int = 2, **options) -> Path:
    """Run an evaluator over the items' images; its output is what else the items hold."""
    data = []
    for k, item in enumerate(items):
        image = MetaTensor(item["image"], meta={"filename_or_obj": str(tmp_path / f"{k}.nii.gz")})
        data.append({"image": image, "results": {key: item[key] for key in item if key != "image"}})
        if options.get("y_up", True):  # otherwise pictures, which have no index in a volume
            data[-1]["slice"] = k
    loader = DataLoader(data, batch_size=batch_size)
    batches = iter(loader)

    def inferer(inputs: torch.Tensor, network: torch.nn.Module) -> dict:
        return next(batches)["results"]

    file = tmp_path / "figures" / "figure.png"
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=loader,
        network=torch.nn.Identity(),
        inferer=inferer,
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[FigureSaver(file, columns, data_root_dir=tmp_path, **options)],
    ).run()
    return file


def places(file: Path, value: tuple, is_image: bool = True) -> np.ndarray:
    """(row, column) of the pixels of a colour; of an image colour, or of one as it is drawn."""
    rgb = np.array([(v + 1) / 2 for v in value]) if is_image else np.array(value)
    pixels = matplotlib.image.imread(file)[..., :3]
    return np.argwhere(np.abs(pixels - rgb).max(axis=-1) < 0.02)


def middle(file: Path, value: tuple, is_image: bool = True) -> tuple[float, float]:
    found = places(file, value, is_image)
    assert len(found) > 500, f"{value} is not in the figure"
    return tuple(found.mean(axis=0))


@pytest.mark.parametrize(("num_columns", "num_rows"), [(1, 1), (2, 3)])
def test_size_follows_columns_and_rows(tmp_path, device, num_columns, num_rows):
    columns = [{"key": "image", "title": f"title {i}"} for i in range(num_columns)]
    file = draw(tmp_path, device, [{"image": colour(RED), "score": 0.0} for _ in range(num_rows)], columns)
    height, width, _ = matplotlib.image.imread(file).shape
    assert (width, height) == (int(110 * (1.6 * num_columns + 0.9)), int(110 * (1.65 * num_rows + 0.4)))
    assert [path.name for path in file.parent.iterdir()] == ["figure.png"]


def test_columns_stand_from_left_to_right_in_the_row_of_their_item(tmp_path, device):
    items = [{"image": colour(RED), "edit": colour(GREEN)}, {"image": colour(BLUE), "edit": colour(YELLOW)}]
    file = draw(tmp_path, device, items, [{"key": "image", "title": "a"}, {"key": "edit", "title": "b"}])
    (row_0, left), (row_1, left_1) = middle(file, RED), middle(file, BLUE)
    (row_0_right, right), (row_1_right, right_1) = middle(file, GREEN), middle(file, YELLOW)
    np.testing.assert_allclose([row_0_right, row_1_right, left_1, right_1], [row_0, row_1, left, right], atol=1)
    assert row_1 - row_0 > 100
    assert right - left > 100


@pytest.mark.parametrize("titles", ["one for all", ["first", "second"]])
def test_a_series_is_spread_over_columns(tmp_path, device, titles):
    items = [{"image": colour(RED), "line": torch.stack([colour(GREEN), colour(BLUE)])}]
    file = draw(tmp_path, device, items, [{"key": "image", "title": "a"}, {"key": "line", "title": titles}])
    columns = [middle(file, value)[1] for value in (RED, GREEN, BLUE)]
    np.testing.assert_allclose(np.diff(columns), columns[1] - columns[0], atol=1.5)
    assert columns[0] < columns[1] - 100


def test_a_series_with_another_number_of_titles_is_refused(tmp_path, device):
    items = [{"image": colour(RED), "line": torch.stack([colour(GREEN), colour(BLUE)])}]
    with pytest.raises(ValueError, match="zip"):
        draw(tmp_path, device, items, [{"key": "line", "title": ["one", "two", "three"]}])


def draw_corners(tmp_path: Path, device: str, y_up: bool) -> tuple[np.ndarray, ...]:
    """Places (row, column) in the figure: last of both axes (green), of the second alone (blue), and the rest."""
    image = colour(RED, (8, 8))
    image[:, -2:, -2:] = torch.tensor(GREEN)[:, None, None]
    image[:, :2, -2:] = torch.tensor(BLUE)[:, None, None]
    items = [{"image": image, "score": 0.0}]
    file = draw(tmp_path, device, items, [{"key": "image", "title": "a"}], y_up=y_up)
    return tuple(places(file, value).mean(axis=0) for value in (GREEN, BLUE, RED))


def test_volumes_are_shown_with_x_to_the_right_and_y_upwards(tmp_path, device):
    green, blue, red = draw_corners(tmp_path, device, y_up=True)
    assert green[0] == pytest.approx(blue[0], abs=1)
    assert green[0] < red[0] - 20
    assert blue[1] < red[1] - 20 < green[1] - 40


def test_pictures_are_shown_with_rows_downwards_and_columns_to_the_right(tmp_path, device):
    green, blue, red = draw_corners(tmp_path, device, y_up=False)
    assert green[1] == pytest.approx(blue[1], abs=1)
    assert green[1] > red[1] + 20
    assert blue[0] < red[0] - 20 < green[0] - 40


@pytest.mark.parametrize(
    ("value_range", "brightness"), [((-1, 1), 0.5), ((0, 1), 0.0), ((-1, 0), 1.0), ((-3, 1), 0.75)]
)
def test_grey_values_span_the_value_range_and_are_clipped(tmp_path, device, value_range, brightness):
    items = [{"image": colour((0,)), "score": 0.0}]
    columns = [{"key": "image", "title": "a"}]
    file = draw(tmp_path, device, items, columns, value_range=value_range)
    row, column, _ = (n // 2 for n in matplotlib.image.imread(file).shape)
    pixel = matplotlib.image.imread(file)[row, column + 20, :3]
    np.testing.assert_allclose(pixel, brightness, atol=0.01)


@pytest.mark.parametrize("difference", [0.5, -0.5])
@pytest.mark.parametrize("kind", ["minus", "signed"])
def test_differences_are_red_above_zero_and_blue_below(tmp_path, device, kind, difference):
    items = [{"image": colour((0.2,)), "other": colour((0.2 + difference,)), "change": colour((difference,))}]
    column = {"key": "other", "minus": "image"} if kind == "minus" else {"key": "change", "signed": True}
    file = draw(tmp_path, device, items, [column | {"title": "a"}])
    middle(file, PLUS_HALF if difference > 0 else MINUS_HALF, is_image=False)
    assert len(places(file, MINUS_HALF if difference > 0 else PLUS_HALF, is_image=False)) == 0
    # Half as strong on twice the range.
    paler = draw(tmp_path, device, items, [column | {"title": "a"}], difference_range=1.0)
    middle(paler, (1, 0, 0) if difference > 0 else (0, 0, 1), is_image=False)


def test_differences_of_a_series_are_taken_from_the_one_image(tmp_path, device):
    items = [{"image": colour((0.2,)), "line": torch.stack([colour((0.7,)), colour((-0.3,))])}]
    file = draw(tmp_path, device, items, [{"key": "line", "title": ["a", "b"], "minus": "image"}])
    assert middle(file, PLUS_HALF, is_image=False)[1] < middle(file, MINUS_HALF, is_image=False)[1] - 100


def dark_pixels(file: Path) -> int:
    return int((matplotlib.image.imread(file)[..., :3].max(axis=-1) < 0.3).sum())


def test_captions_stand_below_each_image_of_a_series(tmp_path, device):
    line = torch.stack([colour((0.5,)), colour((0.5,))])
    items = [{"image": colour((0.5,)), "line": line, "numbers": torch.tensor([8.888, -8.888])}]
    column = {"key": "line", "title": ["a", "b"]}
    column_of_numbers = column | {"caption": "numbers"}
    long = dark_pixels(draw(tmp_path, device, items, [column_of_numbers]))
    short = dark_pixels(draw(tmp_path, device, [items[0] | {"numbers": torch.ones(2)}], [column_of_numbers]))
    assert long > short + 40
    tiny = items[0] | {"numbers": torch.tensor([-8.888e-8, 0.0])}
    zero = items[0] | {"numbers": torch.tensor([0.0, 0.0])}
    tiny, zero = (dark_pixels(draw(tmp_path, device, [item], [column_of_numbers])) for item in (tiny, zero))
    assert tiny == zero
    with pytest.raises(ValueError, match="zip"):
        draw(tmp_path, device, [items[0] | {"numbers": torch.tensor([1.0])}], [column_of_numbers])


@pytest.mark.parametrize("key", ["before", "after"])
def test_several_numbers_stand_side_by_side_below_an_image(tmp_path, device, key):
    item = {"image": colour((0.5,)), "before": torch.tensor(8.888), "after": torch.tensor(-8.888)}
    column = {"key": "image", "title": "a", "caption": ["before", "after"]}
    both, shorter = (
        dark_pixels(draw(tmp_path, device, [one], [column])) for one in (item, item | {key: torch.tensor(1.0)})
    )
    assert both > shorter + 20


def shade(k: int) -> tuple:
    """Distinct colours for up to 16 items."""
    return (-1 + 0.6 * (k % 4), -1 + 0.6 * (k // 4), 1)


def numbered(count: int) -> list[dict]:
    """Items of their own colours, with scores that rise and fall."""
    return [{"image": colour(shade(k)), "score": float((k * 7) % count)} for k in range(count)]


def shown(file: Path) -> list[int]:
    """Which of the numbered items are in the figure, from top to bottom."""
    found = {k: places(file, shade(k)) for k in range(16)}
    rows = {k: pixels[:, 0].mean() for k, pixels in found.items() if len(pixels) > 500}
    return sorted(rows, key=rows.get)


@pytest.mark.parametrize(
    ("count", "max_rows", "expected"),
    [(3, 8, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8]), (13, 4, [0, 4, 8, 12]), (4, 1, [0])],
)
def test_of_more_items_than_rows_evenly_spaced_ones_are_shown(tmp_path, device, count, max_rows, expected):
    columns = [{"key": "image", "title": "a"}]
    file = draw(tmp_path, device, numbered(count), columns, batch_size=3, max_rows=max_rows)
    assert shown(file) == expected


@pytest.mark.parametrize(
    ("count", "max_rows", "order"),
    # Places in the order from the highest score to the lowest.
    [(4, 8, [0, 1, 2, 3]), (11, 4, [0, 1, -2, -1]), (11, 3, [0, 1, -1]), (11, 1, [0]), (13, 2, [0, -1])],
)
def test_ranked_rows_show_the_highest_then_the_lowest(tmp_path, device, count, max_rows, order):
    items = numbered(count)
    columns = [{"key": "image", "title": "a"}]
    file = draw(tmp_path, device, items, columns, batch_size=3, max_rows=max_rows, rank_by="score")
    ranked = sorted(range(count), key=lambda k: -((k * 7) % count))
    assert shown(file) == [ranked[place] for place in order]


@pytest.mark.parametrize(
    "column", [{"key": "image"}, {"title": "a"}, {"key": "image", "title": "a", "sign": True}], ids=str
)
def test_columns_without_key_or_title_or_with_unknown_entries_are_refused(tmp_path, column):
    with pytest.raises(ValueError, match="A column has key and title"):
        FigureSaver(tmp_path / "figure.png", [column])


def test_items_without_a_file_name_are_refused(tmp_path, device):
    evaluator = SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader([{"image": colour(RED), "slice": 0}]),
        network=torch.nn.Identity(),
        val_handlers=[FigureSaver(tmp_path / "figure.png", [{"key": "image", "title": "a"}])],
    )
    with pytest.raises(ValueError, match="must be a MetaTensor with the file name"):
        evaluator.run()
    assert list(tmp_path.iterdir()) == []
