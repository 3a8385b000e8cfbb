# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from monai.transforms import FlattenSubKeysd

from monai_diffae.handlers import AttributeFitter
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
    assert found.auroc == pytest.approx(expected.auroc)
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), rtol=1e-4, atol=1e-5)


def test_the_file_holds_the_directions_fitted_to_all_slices_grouped_by_volume(tmp_path, device, caplog):
    file = tmp_path / "models" / "attributes.pt"
    with caplog.at_level(logging.INFO, "monai_diffae"):
        evaluator(AttributeFitter(file, ["bright", "wide"], AttributeDirections.fit), device, items()).run()
    found = AttributeDirections.load(file)
    assert_equal(found, fit_by_hand(items()))
    assert found.weight[0].argmax() == 0
    assert found.weight[1].argmax() == 3
    assert f"bright: 18 of 36 slices positive, cross-validated AUROC {found.auroc['bright']:.3f}" in caplog.text
    assert "wide: 12 of 36 slices positive" in caplog.text
    assert [path.name for path in file.parent.iterdir()] == ["attributes.pt"]


def test_of_too_few_volumes_directions_are_fitted_and_not_validated(tmp_path, device, caplog):
    file = tmp_path / "attributes.pt"
    with caplog.at_level(logging.INFO, "monai_diffae"):
        evaluator(AttributeFitter(file, ["bright"], AttributeDirections.fit), device, items(num_volumes=4)).run()
    assert AttributeDirections.load(file).auroc == {}
    assert "bright: 6 of 12 slices positive, not cross-validated, too few volumes" in caplog.text


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
    with pytest.raises(ValueError, match="'bright' needs 6 labels of 0 and 1"):
        evaluator(fitter, device, [item for item in items(4) if item["bright"]]).run()
    assert list(tmp_path.iterdir()) == []


def test_at_least_one_attribute_is_needed():
    with pytest.raises(ValueError, match="attributes is empty"):
        AttributeFitter(Path("attributes.pt"), [], AttributeDirections.fit)
