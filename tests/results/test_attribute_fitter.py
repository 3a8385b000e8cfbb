# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import functools
import logging
import math
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from monai.transforms import FlattenSubKeysd

from monai_diffae.results import AttributeFitter
from monai_diffae.semantics import AttributeDirections

VOLUMES, SLICES, Z_DIM = 12, 3, 4


def items(num_volumes: int = VOLUMES) -> list[dict]:
    """Images whose mean is higher in a corner if the label is 1; labels differ between volumes and within them."""
    random = torch.Generator().manual_seed(1)
    data = []
    for volume in range(num_volumes):
        for k in range(SLICES):
            bright, wide = float(volume % 2 == 0), float((volume + k) % 3 == 0)
            image = torch.randn(1, 4, 4, generator=random)
            image[:, :2, :2] += 3 * bright
            image[:, 2:, 2:] += 3 * wide
            data.append({"image": image, "volume": volume, "bright": bright, "wide": wide})
    return data


def encode(inputs: torch.Tensor, network: torch.nn.Module) -> dict:
    """The mean of each corner."""
    return {"z_sem": torch.nn.functional.adaptive_avg_pool2d(inputs, 2).flatten(1)}


def evaluator(fitter: AttributeFitter, device: str, data: list[dict], batch_size: int = 5) -> SupervisedEvaluator:
    return SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(data, batch_size=batch_size),
        network=torch.nn.Identity(),
        inferer=encode,
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[fitter],
    )


def fit_by_hand(data: list[dict]) -> AttributeDirections:
    z_sem = encode(torch.stack([item["image"] for item in data]), torch.nn.Identity())["z_sem"]
    labels = {name: torch.tensor([item[name] for item in data]) for name in ("bright", "wide")}
    return AttributeDirections.fit(z_sem, labels, groups=torch.tensor([item["volume"] for item in data]))


def assert_equal(found: AttributeDirections, expected: AttributeDirections) -> None:
    assert found.names == expected.names
    for name in found.names:
        rows = [{k: v for k, v in d.summaries[name].row().items() if v is not None} for d in (found, expected)]
        assert rows[0].pop("kind") == rows[1].pop("kind")
        assert rows[0] == pytest.approx(rows[1], rel=1e-3)
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), rtol=1e-4, atol=1e-5)


def test_the_file_holds_the_directions_fitted_to_all_slices_grouped_by_volume(tmp_path, device, caplog):
    file = tmp_path / "models" / "attributes.pt"
    with caplog.at_level(logging.INFO, "monai_diffae"):
        evaluator(AttributeFitter(file, ["bright", "wide"], AttributeDirections.fit), device, items()).run()
    found = AttributeDirections.load(file)
    assert_equal(found, fit_by_hand(items()))
    assert found.weight[0].argmax() == 0
    assert found.weight[1].argmax() == 3
    auroc = found.summaries["bright"].cross_validated["auroc"]
    assert f"bright: binary, 18 of 36 positive, cross-validated AUROC {auroc:.3g}" in caplog.text
    assert "wide: binary, 12 of 36 positive" in caplog.text
    assert [path.name for path in file.parent.iterdir()] == ["attributes.pt"]


def test_of_too_few_volumes_directions_are_fitted_and_not_validated(tmp_path, device, caplog):
    file = tmp_path / "attributes.pt"
    with caplog.at_level(logging.INFO, "monai_diffae"):
        evaluator(AttributeFitter(file, ["bright"], AttributeDirections.fit), device, items(num_volumes=4)).run()
    assert AttributeDirections.load(file).summaries["bright"].cross_validated == {}
    assert "bright: binary, 6 of 12 positive, not cross-validated, too few subjects" in caplog.text


def visits(by: str | None) -> list[dict]:
    """Sixty subjects of four visits that look alike, with labels that mean nothing."""
    random = torch.Generator().manual_seed(0)
    data = []
    for subject in range(60):
        label, looks = float(torch.rand((), generator=random) < 0.5), torch.randn(1, 8, 8, generator=random)
        for _ in range(4):
            item = {"image": looks + 0.05 * torch.randn(1, 8, 8, generator=random), "chance": label}
            item |= {"subject": f"s{subject}"} if by == "subject" else {}
            data.append(item | {"volume": {"volume": subject, "subject": len(data), None: len(data)}[by]})
    return data


def auroc_of(data: list[dict], folder: Path, device: str) -> float:
    fitter = AttributeFitter(
        folder / "attributes.pt", ["chance"], functools.partial(AttributeDirections.fit, regularization=100.0)
    )
    run = evaluator(fitter, device, data)
    run.inferer = lambda inputs, network: {"z_sem": inputs.flatten(1)}
    run.run()
    return AttributeDirections.load(folder / "attributes.pt").summaries["chance"].cross_validated["auroc"]


def test_visits_of_a_subject_are_not_on_both_sides_of_the_validation(tmp_path, device):
    """Labels that mean nothing score 0.5, give or take; where a subject is on both sides it is recognised."""
    assert auroc_of(visits(by=None), tmp_path, device) > 0.85
    for by in ("subject", "volume"):
        assert 0.3 < auroc_of(visits(by), tmp_path, device) < 0.7


def test_pictures_are_their_own_groups(tmp_path, device):
    file = tmp_path / "attributes.pt"
    pictures = [{key: value for key, value in item.items() if key != "volume"} for item in items(num_volumes=4)]
    evaluator(AttributeFitter(file, ["bright"], AttributeDirections.fit), device, pictures).run()
    assert list(AttributeDirections.load(file).summaries["bright"].cross_validated) == ["auroc"]


def test_confounders_of_the_batch_are_given_to_the_fit(tmp_path, device):
    random = torch.Generator().manual_seed(0)
    places = torch.rand(len(items()), generator=random).tolist()
    data = [item | {"place": place} for item, place in zip(items(), places)]
    for confounders, known in ((), ""), ("place", "place"):
        table = tmp_path / f"{known}.csv"
        fitter = AttributeFitter(
            tmp_path / "attributes.pt", ["bright"], AttributeDirections.fit, table, confounders=confounders
        )
        evaluator(fitter, device, data).run()
        with open(table, newline="") as f:
            assert [row["confounders"] for row in csv.DictReader(f)] == [known]
    fitter = AttributeFitter(tmp_path / "attributes.pt", ["bright"], AttributeDirections.fit, confounders="age")
    with pytest.raises(ValueError, match=r"no label 'age' .* check labels_file and confounders"):
        evaluator(fitter, device, data).run()


def test_the_table_says_what_is_known_about_each_attribute(tmp_path, device, caplog):
    data = [item | {"level": 3.0 * item["wide"] + item["bright"]} for item in items()]
    data = [item | ({"bright": math.nan} if k % 9 == 0 else {}) for k, item in enumerate(data)]
    fit = functools.partial(AttributeDirections.fit, kinds={"level": "ordinal"})
    table = tmp_path / "tables" / "attributes.csv"
    fitter = AttributeFitter(tmp_path / "attributes.pt", ["bright", "level"], fit, table)
    with caplog.at_level(logging.INFO, "monai_diffae"):
        evaluator(fitter, device, data).run()
    with open(table, newline="") as f:
        bright, level = csv.DictReader(f)
    summary = AttributeDirections.load(tmp_path / "attributes.pt").summaries["level"]
    assert (bright["attribute"], bright["kind"], bright["labels"], bright["positive"]) == (
        "bright",
        "binary",
        "32",
        "16",
    )
    assert (level["attribute"], level["kind"], level["labels"], level["positive"]) == ("level", "ordinal", "36", "")
    assert float(bright["auroc"]) > 0.9
    assert (bright["r2"], bright["mae"], bright["thresholds"], level["auroc"]) == ("", "", "", "")
    for column in ("score_min", "score_max", "score_mean", "score_std"):
        assert float(level[column]) == pytest.approx(getattr(summary, column), rel=1e-3)
    assert float(level["r2"]) == pytest.approx(summary.cross_validated["r2"], rel=1e-3)
    assert [float(t) for t in level["thresholds"].split()] == pytest.approx(summary.thresholds, rel=1e-3)
    assert [path.name for path in table.parent.iterdir()] == ["attributes.csv"]
    assert f"level: ordinal, 36 labels, cross-validated R^2 {summary.cross_validated['r2']:.3g}, mean" in caplog.text


def test_fit_options_reach_the_classifier(tmp_path, device):
    norms = []
    for regularization in (1e-4, 10.0):
        file = tmp_path / f"{regularization}.pt"

        def fit(z_sem, labels, groups, regularization=regularization) -> AttributeDirections:
            return AttributeDirections.fit(z_sem, labels, groups, regularization=regularization)

        evaluator(AttributeFitter(file, ["bright"], fit), device, items()).run()
        norms.append(float(AttributeDirections.load(file).weight.norm()))
    assert norms[1] > 10 * norms[0]


def test_a_second_run_starts_from_nothing(tmp_path, device):
    file = tmp_path / "attributes.pt"
    engine = evaluator(AttributeFitter(file, ["bright", "wide"], AttributeDirections.fit), device, items())
    engine.run()
    engine.run()
    assert_equal(AttributeDirections.load(file), fit_by_hand(items()))


def test_a_missing_label_is_named_and_nothing_is_written(tmp_path, device):
    fitter = AttributeFitter(tmp_path / "attributes.pt", ["bright", "tumour"], AttributeDirections.fit)
    with pytest.raises(ValueError, match=r"There is no label 'tumour' for .*'bright'.*check labels_file"):
        evaluator(fitter, device, items()).run()
    assert list(tmp_path.iterdir()) == []


def test_a_label_of_one_class_only_is_refused_and_nothing_is_written(tmp_path, device):
    fitter = AttributeFitter(tmp_path / "attributes.pt", ["bright"], AttributeDirections.fit)
    with pytest.raises(ValueError, match="'bright' is binary and needs labels of 0 and 1, both of them present; got 6"):
        evaluator(fitter, device, [item for item in items(4) if item["bright"]]).run()
    assert list(tmp_path.iterdir()) == []


def test_at_least_one_attribute_is_needed():
    with pytest.raises(ValueError, match="attributes is empty"):
        AttributeFitter(Path("attributes.pt"), [], AttributeDirections.fit)


def test_one_of_several_processes_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="by one process, not by 2"):
        AttributeFitter(tmp_path / "a.pt", ["lesion"], lambda *_: None).attach(Engine(lambda *_: None))
