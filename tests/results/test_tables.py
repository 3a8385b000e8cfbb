# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, MetaTensor
from monai.engines import PrepareBatchExtraInput, SupervisedEvaluator
from monai.transforms import FlattenSubKeysd

from monai_diffae.data import ImageChains
from monai_diffae.inferers import DiffusionAutoencoderInferer, InterpolationInferer
from monai_diffae.results import EditsTableSaver, LatentsTableSaver
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import Edit
from monai_diffae.support.pseudonyms import Pseudonyms

FILES = ["images/a.nii.gz", "images/a.nii.gz", "b.nii"]


def images_of(root: Path, slices: bool) -> list[dict]:
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return [
        {"image": MetaTensor(image, meta={"filename_or_obj": str(root / name)})} | ({"slice": 10 + k} if slices else {})
        for k, (image, name) in enumerate(zip(images, FILES))
    ]


def run(root: Path, file: Path, network: Callable, device: str, slices: bool = True, root_dir: Path | str = "") -> None:
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(images_of(root, slices), batch_size=2),
        network=torch.nn.Identity(),
        inferer=lambda inputs, _: {"z_sem": network(inputs.as_tensor())},
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[LatentsTableSaver(file, data_root_dir=root_dir)],
    ).run()


def read(file: Path) -> list[list[str]]:
    with open(file, newline="") as f:
        return list(csv.reader(f))


def codes(tiny_autoencoder, device: str) -> torch.Tensor:
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        return tiny_autoencoder.encode(images.to(device)).cpu()


def test_codes_that_are_not_finite_are_refused_by_their_file(tiny_autoencoder, tmp_path, device):
    file = tmp_path / "out" / "latents.csv"
    network = lambda images: tiny_autoencoder.encode(images) * torch.inf  # noqa: E731
    with pytest.raises(ValueError, match=r"^images/a\.nii\.gz: 8 of the 8 numbers of its z_sem are NaN or infinite"):
        run(tmp_path / "data", file, network, device, root_dir=tmp_path / "data")
    assert not file.exists()


@pytest.mark.parametrize("slices", [True, False], ids=["slices", "pictures"])
def test_the_table_has_a_row_an_item_with_its_file_and_code(tiny_autoencoder, tmp_path, device, slices):
    file = tmp_path / "out" / "latents.csv"
    run(tmp_path / "data", file, tiny_autoencoder.encode, device, slices, root_dir=tmp_path / "data")
    header, *rows = read(file)
    assert header == ["file", *(["slice", "x_mm", "y_mm", "z_mm"] if slices else []), *(f"z_{i}" for i in range(8))]
    assert [row[0] for row in rows] == FILES
    if slices:
        assert [row[1] for row in rows] == ["10", "11", "12"]
    found = torch.tensor([[float(value) for value in row[-8:]] for row in rows])
    torch.testing.assert_close(found, codes(tiny_autoencoder, device), rtol=1e-5, atol=1e-6)
    assert [path.name for path in file.parent.iterdir()] == ["latents.csv"]


def test_a_row_has_the_subject_and_the_place_of_a_slice(tiny_autoencoder, tmp_path, device):
    affine = torch.tensor([[0, -2.0, 0, 10], [3.0, 0, 0, -20], [0, 0, 1.5, 7], [0, 0, 0, 1]], dtype=torch.float64)
    item = images_of(tmp_path, slices=True)[0] | {"subject": "sub-7"}
    item["image"] = MetaTensor(item["image"], affine=affine, meta=item["image"].meta)
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader([item], batch_size=1),
        network=torch.nn.Identity(),
        inferer=lambda inputs, _: {"z_sem": tiny_autoencoder.encode(inputs.as_tensor())},
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[LatentsTableSaver(tmp_path / "latents.csv", data_root_dir=tmp_path, identifiers="keep")],
    ).run()
    header, row = read(tmp_path / "latents.csv")
    cells = dict(zip(header, row))
    assert header[:6] == ["file", "subject", "slice", "x_mm", "y_mm", "z_mm"]
    assert (cells["subject"], cells["slice"]) == ("sub-7", "10")
    assert [float(cells[name]) for name in ("x_mm", "y_mm", "z_mm")] == [10 - 2 * 3.5, -20 + 3 * 3.5, 7]


@pytest.mark.parametrize(
    ("chains", "expected"),
    [([[0, 1], [1, 2], [2, 0]], [0, 1, 2]), ([[2, 0], [2, 1]], [2, 0, 1]), ([[2, 0, 1, 2]], [2, 0, 1])],
    ids=["each with the next", "one with the others", "a chain"],
)
def test_images_that_are_joined_have_a_row_each(tiny_autoencoder, tmp_path, device, chains, expected):
    images = images_of(tmp_path, slices=True)
    for item, name in zip(images, "abc"):
        item["image"].meta["filename_or_obj"] = str(tmp_path / f"{name}.nii")
        item["subject"] = name.upper()
    sources = [{"image": str(tmp_path / f"{name}.nii")} for name in "abc"]
    joined = ImageChains(images, sources, [[sources[k]["image"] for k in chain] for chain in chains])
    loops = DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), 1, inversion="explicit", verbose=False)
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(joined, batch_size=2),
        network=tiny_autoencoder,
        prepare_batch=PrepareBatchExtraInput({"inputs_to": "image_to"}),
        inferer=InterpolationInferer(loops, num_points=2).predict,
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[LatentsTableSaver(tmp_path / "latents.csv", data_root_dir=tmp_path)],
    ).run()
    header, *rows = read(tmp_path / "latents.csv")
    assert header[:3] == ["file", "subject", "slice"]
    names = [Pseudonyms(tmp_path)(subject) for subject in "ABC"]  # by the salt that is kept there
    assert [row[:3] for row in rows] == [[f"{'abc'[k]}.nii", names[k], str(10 + k)] for k in expected]
    found = torch.tensor([[float(value) for value in row[-8:]] for row in rows])
    torch.testing.assert_close(found, codes(tiny_autoencoder, device)[expected], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("root", ["", "elsewhere"])
def test_files_outside_the_root_are_written_in_full(tiny_autoencoder, tmp_path, device, root):
    file = tmp_path / "latents.csv"
    run(tmp_path / "data", file, tiny_autoencoder.encode, device, root_dir=root and tmp_path / root)
    assert [row[0] for row in read(file)[1:]] == [(tmp_path / "data" / name).as_posix() for name in FILES]


def test_an_interrupted_run_keeps_the_earlier_table_and_the_next_one_replaces_it(tiny_autoencoder, tmp_path, device):
    def stop_in_the_second_batch(inputs: torch.Tensor) -> torch.Tensor:
        if len(inputs) == 1:
            raise RuntimeError("interrupted")
        return tiny_autoencoder.encode(inputs)

    file = tmp_path / "latents.csv"
    with pytest.raises(RuntimeError, match="interrupted"):
        run(tmp_path, file, stop_in_the_second_batch, device)
    assert not file.exists()
    file.write_text("earlier\n")
    with pytest.raises(RuntimeError, match="interrupted"):
        run(tmp_path, file, stop_in_the_second_batch, device)
    assert file.read_text() == "earlier\n"
    run(tmp_path, file, tiny_autoencoder.encode, device)
    assert len(read(file)) == 4
    assert list(tmp_path.iterdir()) == [file]


def test_numbers_have_columns_before_the_code_where_the_output_holds_them(tmp_path, device):
    file = tmp_path / "latents.csv"
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(images_of(tmp_path, slices=False), batch_size=2),
        network=torch.nn.Identity(),
        inferer=lambda inputs, _: {"z_sem": inputs.as_tensor()[:, 0, 0, :2], "count": torch.full((len(inputs),), 7)},
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[LatentsTableSaver(file, tmp_path, numbers=["count", "other"])],
    ).run()
    header, *rows = read(file)
    assert header == ["file", "count", "z_0", "z_1"]
    assert [row[1] for row in rows] == ["7", "7", "7"]


# Edits


def edit(inputs: torch.Tensor, after: torch.Tensor) -> dict[str, torch.Tensor]:
    """As ManipulationInferer gives it: the score is the mean, ``after`` what is reached, 0.5 the end of the range."""
    outside = (after - 0.5).clamp(min=0).where(after < 5, torch.nan)
    score = inputs.as_tensor().flatten(1).mean(dim=1)
    return {"score": score, "score_after": after.to(score), "extrapolation": outside.to(score)}


def run_edits(saver: EditsTableSaver, root: Path, device: str, after: list, slices: bool = False) -> list[list[str]]:
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(images_of(root, slices), batch_size=2),
        network=torch.nn.Identity(),
        inferer=lambda inputs, _: edit(inputs, torch.tensor(after).expand(len(inputs), *torch.tensor(after).shape)),
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[saver],
    ).run()
    return read(saver.filename)


@pytest.mark.parametrize("along", ["weight", "pattern"])
@pytest.mark.parametrize("slices", [True, False], ids=["slices", "pictures"])
def test_the_table_of_edits_has_a_row_an_item_with_its_scores(tmp_path, device, slices, along):
    given = {} if along == "weight" else {"along": along}
    saver = EditsTableSaver(tmp_path / "out" / "edits.csv", Edit("lesion", amount=0.3, **given), data_root_dir=tmp_path)
    header, *rows = run_edits(saver, tmp_path, device, 0.75, slices)
    columns = ["attribute", "along", "amount", "score_before", "score_after", "extrapolation"]
    assert header == ["file", *(["slice"] if slices else []), *columns]
    assert [row[0] for row in rows] == FILES
    if slices:
        assert [row[1] for row in rows] == ["10", "11", "12"]
    assert {tuple(row[-6:-3] + row[-2:]) for row in rows} == {("lesion", along, "0.3", "0.75", "0.25")}
    means = [item["image"].mean().item() for item in images_of(tmp_path, False)]
    assert [float(row[-3]) for row in rows] == pytest.approx(means, rel=1e-4)
    assert [path.name for path in saver.filename.parent.iterdir()] == ["edits.csv"]


@pytest.mark.parametrize(
    "edits", [{"target": ["boundary", 2, "across"]}, {"amount": [-1.0, 0.5, 2.0]}, {"to_class_mean": [-1, 0.5, 1]}]
)
def test_the_table_of_a_series_has_a_row_an_edit(tmp_path, device, edits):
    saver = EditsTableSaver(tmp_path / "edits.csv", Edit("lesion", **edits))
    header, *rows = run_edits(saver, tmp_path, device, [0.0, 2.0, 9.0])
    ((column, series),) = edits.items()
    assert header[3] == column
    assert [row[3] for row in rows] == [
        f"{value:g}" if isinstance(value, float) else str(value) for value in series
    ] * 3
    assert [row[5:] for row in rows] == [["0", "0"], ["2", "1.5"], ["9", "nan"]] * 3


@pytest.mark.parametrize("edits", [{}, {"amount": 0.3, "target": "boundary"}, {"amount": 0.3, "to_class_mean": 1}])
def test_edits_are_by_an_amount_or_to_a_target_or_to_a_class_mean(edits):
    with pytest.raises(ValueError, match=r"exactly one of amount, target and to_class_mean; got (none|amount=0.3 and)"):
        EditsTableSaver("edits.csv", Edit("lesion", **edits))


@pytest.mark.parametrize("numbers", [(), ("tries", "probability")])
def test_numbers_of_the_result_get_columns_of_their_own(tmp_path, numbers):
    item = {"image": MetaTensor(torch.zeros(1), meta={"filename_or_obj": "a.png"})}
    result = {"z_sem": torch.tensor([1.0, 2.0]), "tries": torch.tensor(7), "probability": 0.25}
    engine = Engine(lambda engine, batch: [result])
    LatentsTableSaver(tmp_path / "latents.csv", numbers=numbers).attach(engine)
    engine.run([[item]])
    head, row = read(tmp_path / "latents.csv")
    assert head == ["file", *numbers, "z_0", "z_1"]
    assert row[1:] == [*(["7", "0.25"] if numbers else []), "1", "2"]


def test_steps_to_one_target_have_a_row_each_with_further_numbers(tmp_path):
    saver = EditsTableSaver(tmp_path / "e.csv", Edit("lesion", target="across", num_steps=2), numbers=["distance"])
    output = {"score": torch.tensor(-1.0), "score_after": torch.tensor([0.0, 1.0])}
    output |= {"extrapolation": torch.zeros(2), "distance": torch.tensor([0.5, 1.0])}
    rows = list(saver.rows(output))
    assert [row["step"] for row in rows] == ["1/2", "2/2"]
    assert [row["target"] for row in rows] == ["across", "across"]
    assert [row["score_after"] for row in rows] == [0.0, 1.0]
    assert [row["distance"] for row in rows] == [0.5, 1.0]
    assert list(rows[0])[-1] == "distance"


def test_a_whole_volume_has_the_place_of_its_centre(tmp_path, device):
    affine = torch.tensor([[0.0, -2, 0, 10], [3, 0, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]])
    volume = MetaTensor(torch.zeros(1, 5, 6, 4), affine=affine, meta={"filename_or_obj": "a.nii"})
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader([{"image": volume, "subject": "sub-1"}], batch_size=1),
        network=torch.nn.Identity(),
        inferer=lambda inputs, _: {"z_sem": torch.ones(1, 2)},
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[LatentsTableSaver(tmp_path / "latents.csv", salt="pepper")],
    ).run()
    header, row = read(tmp_path / "latents.csv")
    assert header == ["file", "subject", "x_mm", "y_mm", "z_mm", "z_0", "z_1"]
    assert row[1:5] == [Pseudonyms(tmp_path, "pepper")("sub-1"), "5.000", "26.000", "36.000"]


def test_kept_attributes_have_columns_for_their_scores_before_and_after(tmp_path):
    series = {"score": torch.tensor(-1.0), "score_after": torch.tensor([0.0, 1.0]), "extrapolation": torch.zeros(2)}
    series |= {"kept_before": torch.tensor([5.0, 6.0])}
    series |= {
        f"kept_{when}": 10 * k + torch.tensor([[5.0, 6.0], [7.0, 8.0]]) for k, when in ((1, "after"), (2, "reencoded"))
    }
    saver = EditsTableSaver(tmp_path / "e.csv", Edit("lesion", target=[0.0, 1.0], keep=["age", "sex"]))
    first, second = saver.rows(series)
    columns = [f"kept_{name}_{when}" for name in ("age", "sex") for when in ("before", "after", "reencoded")]
    assert list(first)[-6:] == columns
    assert [first[column] for column in columns] == [5, 15, 25, 6, 16, 26]
    assert [second[column] for column in columns] == [5, 17, 27, 6, 18, 28]
    single = {key: value if key in ("score", "kept_before") else value[1] for key, value in series.items()}
    (row,) = EditsTableSaver(tmp_path / "e.csv", Edit("lesion", target=1.0, keep=["age", "sex"])).rows(single)
    assert [row[column] for column in columns] == [5, 17, 27, 6, 18, 28]
    one = {key: value[..., :1] if key.startswith("kept") else value for key, value in single.items()}
    (row,) = EditsTableSaver(tmp_path / "e.csv", Edit("lesion", target=1.0, keep="age")).rows(one)
    assert list(row)[-3:] == columns[:3]


def test_arguments_of_version_0_1_0_make_the_edit_with_a_warning(tmp_path):
    with pytest.warns(DeprecationWarning, match=r"EditsTableSaver takes .*Edit\(attribute='lesion', target='across'"):
        saver = EditsTableSaver(tmp_path / "e.csv", attribute="lesion", target="across", num_steps=2, keep=["age"])
    assert saver.edit.columns == Edit("lesion", target="across", num_steps=2).columns
    assert saver.edit.keep == ("age",)
