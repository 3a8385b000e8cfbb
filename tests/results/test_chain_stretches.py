# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import PrepareBatchExtraInput, SupervisedEvaluator
from monai.transforms import FlattenSubKeysd

from monai_diffae.results import FigureSaver
from monai_diffae.results.chain_stretches import chain_stretches


def test_a_series_is_cut_at_the_images_of_the_chain_which_are_in_both_parts():
    item = {"image": "a", "image_to": ["b", "c", "d"], "slice": 3, "label": 1}
    output = {"line": torch.arange(7.0), "z_sem": torch.zeros(5)}
    stretches = chain_stretches(item, output, ["line"])
    assert [(i["image"], i["image_to"]) for i, _ in stretches] == [("a", "b"), ("b", "c"), ("c", "d")]
    assert [o["line"].tolist() for _, o in stretches] == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert [i.get("slice") for i, _ in stretches] == [3, None, None]
    assert all(i["label"] == 1 and len(o["z_sem"]) == 5 for i, o in stretches)
    assert item["image_to"] == ["b", "c", "d"]


@pytest.mark.parametrize("others", [{}, {"image_to": "b"}, {"image_to": ["b"]}], ids=str)
def test_what_is_no_chain_stays_as_it_is(others):
    item, output = {"image": "a", "slice": 3, **others}, {"line": torch.arange(7.0)}
    assert chain_stretches(item, output, ["line"]) == [(item, output)]


def test_a_series_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="'line' has 6 images, not divisible into 2 equal stretches"):
        chain_stretches({"image": "a", "image_to": ["b", "c"]}, {"line": torch.arange(6.0)}, ["line"])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_figure_of_a_chain_has_a_row_from_each_image_to_the_next(tmp_path, device, count):
    images = [MetaTensor(torch.full((1, 4, 4), i / count), meta={"filename_or_obj": f"{i}.png"}) for i in range(count)]
    data = [{"image": images[0], "image_to": images[1:] if count > 2 else images[1]}]

    def inferer(inputs: torch.Tensor, network: torch.nn.Module, inputs_to: object) -> dict:
        return {"line": torch.linspace(-1, 1, 2 * (count - 1) + 1).reshape(1, -1, 1, 1, 1).expand(1, -1, 1, 4, 4)}

    columns = [{"key": "image", "title": "from"}, {"key": "line", "title": ["0", "0.5", "1"]}]
    columns += [{"key": "image_to", "title": "to"}]
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(Dataset(data)),
        network=torch.nn.Identity(),
        prepare_batch=PrepareBatchExtraInput({"inputs_to": "image_to"}),
        inferer=inferer,
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[FigureSaver(tmp_path / "figure.png", columns, max_rows=1)],
    ).run()
    pixels = matplotlib.image.imread(tmp_path / "figure.png")[..., 0]
    height, width = pixels.shape
    assert (width, height) == pytest.approx((110 * (1.6 * 5 + 0.9), 110 * (1.65 * (count - 1) + 0.4)), abs=1.5)
    # Grey values in the middle of each panel, from top to bottom.
    rows = [int(height * (0.4 + 1.65 * (i + 0.5)) / (0.4 + 1.65 * (count - 1))) for i in range(count - 1)]
    columns = [int(width * (0.9 + 1.6 * (j + 0.5)) / (0.9 + 1.6 * 5)) for j in range(5)]
    shades = [(i / count + 1) / 2 for i in range(count)]
    np.testing.assert_allclose(pixels[rows, columns[0]], shades[:-1], atol=0.01)
    np.testing.assert_allclose(pixels[rows, columns[4]], shades[1:], atol=0.01)
    line = np.linspace(0, 1, 2 * (count - 1) + 1)
    for j in range(3):
        np.testing.assert_allclose(pixels[rows, columns[1 + j]], line[j::2][: count - 1], atol=0.01)
