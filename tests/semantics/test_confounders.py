# SPDX-License-Identifier: Apache-2.0
"""Patterns of attributes without what goes with them by way of confounders."""

import math

import pytest
import torch
from torch.testing import assert_close

from monai_diffae.semantics import AttributeDirections

DIMENSIONS = 8
COUNT = 600


@pytest.fixture
def slices() -> dict[str, torch.Tensor]:
    """Codes that tell, each in dimensions of its own, the place of a slice and the size of an organ; its area is a
    curve over the places, plus the size."""
    place, size = torch.rand(COUNT), torch.randn(COUNT)
    curve = torch.sin(math.pi * place)
    z_sem = 0.3 * torch.randn(COUNT, DIMENSIONS)
    z_sem[:, 0] += 3 * curve
    z_sem[:, 1] += 2 * place
    z_sem[:, 2] += size
    return {"z_sem": z_sem, "place": place, "area": 100 * curve + 10 * size, "size": size}


def direction(pattern: torch.Tensor, statistics_std: torch.Tensor) -> torch.Tensor:
    """In codes, of length 1."""
    moved = pattern * statistics_std
    return moved / moved.norm()


def test_the_pattern_of_an_area_is_that_of_place_unless_place_is_a_confounder(slices):
    z_sem, labels = slices["z_sem"], {"area": slices["area"]}
    plain = AttributeDirections.fit(z_sem, labels)
    adjusted = AttributeDirections.fit(z_sem, labels, confounders={"place": slices["place"]})
    std = plain.statistics.std
    assert direction(plain.pattern[0], std)[0].abs() > 0.9
    assert direction(adjusted.pattern[0], std)[2] > 0.95
    assert_close(adjusted.weight, plain.weight)
    moved = adjusted.move_to(z_sem, "area", "80%", along="pattern") - z_sem
    assert (moved[:, 2] < 0).float().mean() > 0.95
    assert moved[:, 0].abs().mean() < 0.3 * moved[:, 2].abs().mean()


def test_a_class_is_adjusted_as_well(slices):
    older = slices["place"] + 0.3 * torch.randn(COUNT)
    ill = ((slices["size"] + 6 * (older - 0.5)) > 0).double()
    z_sem = slices["z_sem"]
    plain = AttributeDirections.fit(z_sem, {"ill": ill})
    adjusted = AttributeDirections.fit(z_sem, {"ill": ill}, confounders={"age": older, "place": slices["place"]})
    assert (plain.summaries["ill"].confounders, adjusted.summaries["ill"].confounders) == ((), ("age", "place"))
    std = plain.statistics.std
    assert direction(plain.pattern[0], std)[1] > 0.5
    assert direction(adjusted.pattern[0], std)[1].abs() < 0.2
    assert direction(adjusted.pattern[0], std)[2] > 0.9


def test_an_attribute_is_not_adjusted_for_itself(slices):
    z_sem, labels = slices["z_sem"], {name: slices[name] for name in ("area", "place")}
    plain = AttributeDirections.fit(z_sem, labels)
    adjusted = AttributeDirections.fit(z_sem, labels, confounders={"place": slices["place"]})
    assert_close(adjusted.pattern[1], plain.pattern[1])
    assert not torch.allclose(adjusted.pattern[0], plain.pattern[0])


def test_codes_without_the_confounder_are_left_out_of_the_pattern_alone(slices):
    z_sem, labels, place = slices["z_sem"], {"area": slices["area"]}, slices["place"].clone()
    place[200:] = math.nan
    some = AttributeDirections.fit(z_sem, labels, confounders={"place": place})
    labels["area"][200:] = math.nan
    few = AttributeDirections.fit(z_sem, labels, confounders={"place": slices["place"]})
    assert_close(some.pattern, few.pattern)
    assert some.summaries["area"].num_labels == COUNT


def test_confounders_are_told_by_the_file_and_the_table(slices, tmp_path):
    attributes = AttributeDirections.fit(
        slices["z_sem"], {"area": slices["area"]}, confounders={"place": slices["place"]}
    )
    attributes.save(tmp_path / "attributes.pt")
    assert AttributeDirections.load(tmp_path / "attributes.pt").summaries["area"].row()["confounders"] == "place"


@pytest.mark.parametrize(
    ("confounder", "message"),
    [
        (lambda slices: torch.ones(COUNT), "'other' of 'area' has one value only; leave it out"),
        (lambda slices: slices["area"].clone(), "Nothing is left of 'area'"),
        (lambda slices: torch.full((COUNT,), math.nan), "0 codes have a label of 'area' and all of its confounders"),
        (lambda slices: torch.ones(3), f"'other' needs {COUNT} numbers"),
    ],
)
def test_confounders_that_leave_nothing_are_refused(slices, confounder, message):
    with pytest.raises(ValueError, match=message):
        AttributeDirections.fit(slices["z_sem"], {"area": slices["area"]}, confounders={"other": confounder(slices)})
