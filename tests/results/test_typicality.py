# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import warnings
from pathlib import Path

import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import FlattenSubKeysd

from monai_diffae.results import LatentsTableSaver, TypicalityFitter
from monai_diffae.semantics import LatentTypicality


def items(root: Path, codes: torch.Tensor, slices: bool = False) -> list[dict]:
    """Images that are their codes: ``(1, 2, 2)``."""
    return [
        {"image": MetaTensor(code.reshape(1, 2, 2), meta={"filename_or_obj": str(root / f"{k}.png")})}
        | ({"slice": k} if slices else {})
        for k, code in enumerate(codes)
    ]


def run(data: list[dict], handler) -> None:
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(data, batch_size=4),
        network=torch.nn.Identity(),
        inferer=lambda inputs, _: {"z_sem": inputs.as_tensor().flatten(1)},
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[handler],
    ).run()


def normal(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    LatentTypicality.fit(normal(400, 0), normal(99, 1)).save(tmp_path / "typicality.pt")
    return tmp_path / "typicality.pt"


def read(file: Path) -> list[dict]:
    with open(file, newline="") as f:
        return list(csv.DictReader(f))


@pytest.mark.parametrize("count", [1, 24, 99, 200, 522, 603, 1643])
def test_a_strange_code_is_warned_of_whatever_the_number_of_withheld_ones(tmp_path, count):
    path, codes = tmp_path / "typicality.pt", torch.zeros(2, 4)
    codes[1] = 100.0
    LatentTypicality.fit(normal(400, 0), normal(count, 1)).save(path)
    with pytest.warns(UserWarning, match=f"1 of 2 images lie beyond all {count} codes"):
        run(items(tmp_path, codes), LatentsTableSaver(tmp_path / "latents.csv", typicality_path=path))


@pytest.mark.parametrize("slices", [False, True])
def test_every_code_has_its_percentile_and_strange_ones_are_warned_of_once(tmp_path, path, slices):
    codes = normal(10, 2)
    codes[3], codes[7] = 50.0, 100.0
    file = tmp_path / "latents.csv"
    with pytest.warns(UserWarning, match="2 of 10 images lie beyond all 99") as caught:
        run(items(tmp_path, codes, slices), LatentsTableSaver(file, tmp_path, typicality_path=path))
    (message,) = [str(w.message) for w in caught if "lie beyond" in str(w.message)]
    assert message.index("7.png") < message.index("3.png")  # the farthest first
    assert ("7.png, slice 7" in message) == slices
    rows = read(file)
    expected = LatentTypicality.load(path)(codes).tolist()
    assert [float(row["typicality"]) for row in rows] == pytest.approx(expected)
    assert expected[7] == 99
    assert list(rows[0]).index("typicality") == list(rows[0]).index("z_0") - 1


def test_images_of_the_kind_are_not_warned_of(tmp_path, path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run(items(tmp_path, 0.3 * normal(6, 3)), LatentsTableSaver(tmp_path / "l.csv", typicality_path=path))


@pytest.mark.parametrize("missing", ["none.pt", None])
def test_without_a_file_there_is_no_column(tmp_path, missing):
    where = None if missing is None else tmp_path / missing
    run(items(tmp_path, normal(3, 0)), LatentsTableSaver(tmp_path / "l.csv", tmp_path, typicality_path=where))
    assert list(read(tmp_path / "l.csv")[0]) == ["file", "z_0", "z_1", "z_2", "z_3"]


def test_it_is_fitted_to_the_training_and_compared_with_withheld_images(tmp_path):
    codes = normal(60, 5)
    data = items(tmp_path, codes)
    withheld = [str(tmp_path / f"{k}.png") for k in range(50, 60)]
    run(data, TypicalityFitter(tmp_path / "models" / "typicality.pt", withheld))
    found = LatentTypicality.load(tmp_path / "models" / "typicality.pt")
    expected = LatentTypicality.fit(codes[:50], codes[50:])
    torch.testing.assert_close(found.withheld, expected.withheld)
    torch.testing.assert_close(found.whitening, expected.whitening)


def test_a_missing_part_is_said(tmp_path):
    with pytest.raises(ValueError, match="got 6 and 0"):
        run(items(tmp_path, normal(6, 0)), TypicalityFitter(tmp_path / "t.pt", ["elsewhere.png"]))
    assert not (tmp_path / "t.pt").exists()
