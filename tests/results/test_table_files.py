# SPDX-License-Identifier: Apache-2.0
"""latents.parquet, against latents.csv and the codes that went in."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import FlattenSubKeysd

from monai_diffae.results import EditsTableSaver, LatentsTableSaver
from monai_diffae.results.table_files import CsvFile, ParquetFile
from monai_diffae.semantics import Edit

AFFINE = torch.diag(torch.tensor([-1.0, 2.0, 3.0, 1.0], dtype=torch.float64))


@pytest.fixture
def parquet():
    return pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")


def images(root: Path) -> list[dict]:
    values = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    meta = {"filename_or_obj": str(root / "a.nii.gz")}
    return [
        {"image": MetaTensor(image, affine=AFFINE, meta=meta), "slice": 10 + k, "subject": "sub-1"}
        for k, image in enumerate(values)
    ]


def encode(inputs: torch.Tensor) -> torch.Tensor:
    return inputs.as_tensor().flatten(1)[:, :3] / 3


def run(root: Path, file: Path, device: str, code: Callable = encode) -> torch.Tensor:
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(images(root), batch_size=2),
        network=torch.nn.Identity(),
        inferer=lambda inputs, _: {"z_sem": code(inputs), "count": torch.full((len(inputs),), 7)},
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[LatentsTableSaver(file, root, numbers=["count"], identifiers="keep")],
    ).run()
    return torch.stack([encode(item["image"][None])[0] for item in images(root)])


@pytest.mark.parametrize("group_size", [1024, 2])
def test_parquet_has_the_rows_of_the_csv_and_the_codes_to_the_last_bit(
    parquet, tmp_path, device, monkeypatch, group_size
):
    monkeypatch.setattr(ParquetFile, "group_size", group_size)
    run(tmp_path, tmp_path / "out" / "latents.csv", device)
    codes = run(tmp_path, tmp_path / "out" / "latents.parquet", device)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["latents.csv", "latents.parquet"]
    with open(tmp_path / "out" / "latents.csv", newline="") as f:
        expected = list(csv.DictReader(f))
    table = parquet.read_table(tmp_path / "out" / "latents.parquet")
    assert table.column_names == list(expected[0])
    found = table.to_pylist()
    assert [row["file"] for row in found] == ["a.nii.gz"] * 5 == [row["file"] for row in expected]
    assert [row["subject"] for row in found] == ["sub-1"] * 5
    assert [row["slice"] for row in found] == [10, 11, 12, 13, 14]
    for name in ("x_mm", "y_mm", "z_mm", "count", "z_0"):
        assert [row[name] for row in found] == pytest.approx([float(row[name]) for row in expected], abs=1e-5)
    assert torch.equal(torch.tensor([[row[f"z_{i}"] for i in range(3)] for row in found]), codes)
    types = {str(table.schema.field(name).type) for name in ("z_0", "count")}
    assert (types, str(table.schema.field("x_mm").type)) == ({"float"}, "double")
    groups = parquet.ParquetFile(tmp_path / "out" / "latents.parquet").num_row_groups
    assert groups == (1 if group_size == 1024 else 3)


def test_no_more_than_a_row_group_is_held_in_memory(parquet, tmp_path, monkeypatch):
    monkeypatch.setattr(ParquetFile, "group_size", 10)
    file = ParquetFile(tmp_path / "a.parquet")
    held = []
    for k in range(100):
        file.write([({"file": "a"}, {"z_0": float(k)})])
        held.append(len(file._rows))
    file.close()
    assert max(held) < 10
    assert parquet.read_table(file.path)["z_0"].to_pylist() == list(range(100))


def test_an_interrupted_run_leaves_the_table_of_an_earlier_one(parquet, tmp_path, device):
    file = tmp_path / "latents.parquet"
    codes = run(tmp_path, file, device)
    before = file.read_bytes()

    def stop_in_the_second_batch(inputs: torch.Tensor) -> torch.Tensor:
        if len(seen) == 1:
            raise KeyboardInterrupt
        seen.append(inputs)
        return encode(inputs)

    seen: list[torch.Tensor] = []
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, file, device, stop_in_the_second_batch)
    assert file.read_bytes() == before
    run(tmp_path, file, device)
    assert parquet.read_table(file).num_rows == len(codes)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("kind", [CsvFile, ParquetFile])
def test_files_of_several_processes_are_joined_in_their_order(tmp_path, kind):
    if kind is ParquetFile:
        parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")
    paths = [tmp_path / f"{rank}" for rank in range(3)]
    for rank, path in enumerate(paths):
        file = kind(path)
        file.write([({"slice": 10 * rank + k}, {"z_0": 0.5}) for k in range(rank + 1)])
        file.close()
    kind.join(paths[0], paths[1:])
    if kind is ParquetFile:
        found = parquet.read_table(paths[0])["slice"].to_pylist()
    else:
        found = [int(line.split(",")[0]) for line in paths[0].read_text().splitlines()[1:]]
    assert found == [0, 10, 11, 20, 21, 22]


def test_without_pyarrow_parquet_is_refused_and_csv_written(tmp_path, device, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # importing it raises ImportError
    with pytest.raises(ImportError, match=r"latents\.parquet is a Parquet table.*pip install pyarrow"):
        LatentsTableSaver(tmp_path / "latents.parquet")
    run(tmp_path, tmp_path / "latents.csv", device)
    assert len((tmp_path / "latents.csv").read_text().splitlines()) == 6


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match="ends in 'xlsx'; a table of this kind can be csv or parquet"):
        LatentsTableSaver(tmp_path / "latents.xlsx")
    with pytest.raises(ValueError, match="ends in 'parquet'; a table of this kind can be csv"):
        EditsTableSaver(tmp_path / "edits.parquet", Edit("lesion", amount=1.0))
