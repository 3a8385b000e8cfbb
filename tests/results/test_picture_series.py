# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from PIL import Image

from monai_diffae.results import PictureSeriesSaver
from monai_diffae.results.sources import result_stem


def image(file: str | Path, channels: int = 1) -> MetaTensor:
    return MetaTensor(torch.zeros(channels, 3, 2), meta={"filename_or_obj": str(file)})


def save(tmp_path: Path, items: list[dict], outputs: list[dict], keys: dict[str, str]) -> list[str]:
    engine = Engine(lambda engine, batch: outputs)
    PictureSeriesSaver(tmp_path / "out", keys, data_root_dir=tmp_path / "data").attach(engine)
    engine.run([items])
    return sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())


@pytest.mark.parametrize(("count", "last"), [(1, "0"), (3, "2"), (10, "9"), (11, "10")])
def test_a_series_is_numbered_so_that_names_sort(tmp_path, count, last):
    output = {"line": torch.linspace(-1, 1, count).reshape(-1, 1, 1, 1).expand(-1, 1, 3, 2)}
    files = save(tmp_path, [{"image": image(tmp_path / "data/sub/a.jpg")}], [output], {"line": "line"})
    assert len(files) == count
    assert files[0] == f"sub/a_line_{'0' * len(last)}.png"
    assert files[-1] == f"sub/a_line_{last}.png"
    means = [np.asarray(Image.open(tmp_path / "out" / file)).mean() for file in files]
    np.testing.assert_allclose(means, np.round(np.linspace(-1, 1, count) * 127.5 + 127.5), atol=1)


def test_pictures_stand_upright_and_values_are_scaled_and_clipped(tmp_path):
    picture = torch.tensor([[-1.0, 1.0, -3.0], [0.0, 0.5, 3.0]])[None]  # (C, rows, columns)
    assert save(tmp_path, [{"image": image(tmp_path / "a.png")}], [{"edit": picture}], {"edit": "e"}) == ["a_e.png"]
    found = np.asarray(Image.open(tmp_path / "out" / "a_e.png"))
    np.testing.assert_array_equal(found, [[0, 255, 0], [128, 191, 255]])


def test_three_channels_are_red_green_and_blue(tmp_path, device):
    picture = torch.tensor([1.0, -1.0, 0.0]).reshape(3, 1, 1).expand(3, 2, 3).to(device)
    save(tmp_path, [{"image": image(tmp_path / "a.png", 3)}], [{"edit": picture}], {"edit": "e"})
    found = Image.open(tmp_path / "out" / "a_e.png")
    assert (found.mode, found.size, found.getpixel((2, 1))) == ("RGB", (3, 2), (255, 0, 128))


def test_pictures_that_are_joined_are_named_by_both(tmp_path):
    root = tmp_path / "data"
    items = [
        {"image": image(root / "a.png"), "image_to": image(root / "b.png")},
        {"image": image(root / "a.png"), "image_to": [image(root / "b.png"), image(root / "sub/c.png")]},
    ]
    outputs = [{"swap": torch.zeros(1, 3, 2), "back": torch.zeros(1, 3, 2)}] * 2
    assert save(tmp_path, items, outputs, {"swap": "swap", "back": "swap_reversed"}) == [
        "a_to_b_swap.png",
        "a_to_b_swap_reversed.png",
        "a_to_sub_c_swap.png",
        "a_to_sub_c_swap_reversed.png",
    ]


def test_other_numbers_of_channels_are_refused_and_nothing_is_left_half_written(tmp_path):
    with pytest.raises(ValueError, match=r"'edit' must have 1 or 3 channels, got the shape \[2, 3, 2\]"):
        save(tmp_path, [{"image": image(tmp_path / "a.png", 2)}], [{"edit": torch.zeros(2, 3, 2)}], {"edit": "e"})
    assert not (tmp_path / "out").exists()


def test_pictures_that_are_not_finite_are_refused(tmp_path):
    edit = torch.zeros(1, 3, 2)
    edit[0, 1, 1] = torch.nan
    with pytest.raises(ValueError, match=r"a\.png: 1 of the 6 numbers of its edit are NaN or infinite"):
        save(tmp_path, [{"image": image(tmp_path / "data" / "a.png")}], [{"edit": edit}], {"edit": "e"})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("first", "others", "expected"),
    [
        ("data/images/a.nii.gz", [], "images/a"),
        ("data/images/a.nii.gz", ["data/images/b.nii.gz"], "images/a_to_b"),
        ("data/a.png", ["data/b.png"], "a_to_b"),
        ("data/sub-1/T1.nii", ["data/sub-2/T1.nii"], "sub-1/T1_to_sub-2_T1"),
        ("data/a.png", ["data/x.png", "data/a.png"], "a_to_a"),
        ("elsewhere/a.png", ["elsewhere/b.png"], "a_to_b"),
    ],
)
def test_results_are_named_by_the_first_and_the_last_source(tmp_path, first, others, expected):
    item = {"image": image(tmp_path / first)}
    if others:
        images = [image(tmp_path / other) for other in others]
        item["image_to"] = images if len(images) > 1 else images[0]
    assert result_stem(item, tmp_path / "data") == expected
