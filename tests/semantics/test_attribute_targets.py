# SPDX-License-Identifier: Apache-2.0
"""Moves to a score, moves that keep other scores, and how far they lead outside the training data."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from monai_diffae.semantics import AttributeDirections, AttributeSummary, LatentStatistics

DIMENSIONS = 8


@pytest.fixture
def attributes() -> AttributeDirections:
    """Three attributes that depend on each other, in unlike units."""
    z_sem = torch.randn(400, DIMENSIONS)
    age = 50 + 10 * (z_sem[:, 0] + z_sem[:, 1])
    labels = {"age": age, "male": z_sem[:, 0] - z_sem[:, 2] > 0.3, "grade": (z_sem[:, 1] + z_sem[:, 3]).round()}
    labels["grade"] = labels["grade"].clamp(-2, 2)
    z_sem = z_sem * torch.logspace(-1, 1, DIMENSIONS) + 3
    return AttributeDirections.fit(z_sem, labels, kinds={"grade": "ordinal"}, regularization=1.0)


@pytest.fixture
def z_sem() -> torch.Tensor:
    return torch.randn(6, DIMENSIONS) * torch.logspace(-1, 1, DIMENSIONS) + 3


def score(attributes: AttributeDirections, z_sem: torch.Tensor, name: str) -> torch.Tensor:
    return attributes.scores(z_sem)[:, attributes.index(name)]


def value_of(attributes: AttributeDirections, mean_score: float) -> float:
    """The age whose codes have that score on average."""
    summary = attributes.summary("age")
    return summary.score_mean + (mean_score - summary.score_mean) / summary.score_per_unit


# Move to


@pytest.mark.parametrize("keep", [[], ["grade"]])
@pytest.mark.parametrize("target", [44, 52.5, np.float32(60)])
def test_move_to_gives_every_code_the_mean_score_of_that_value(attributes, z_sem, target, keep):
    moved = attributes.move_to(z_sem, "age", target, keep)
    summary = attributes.summary("age")
    expected = summary.score_mean + summary.score_per_unit * (float(target) - summary.score_mean)
    assert_close(score(attributes, moved, "age"), torch.full((6,), expected), rtol=0, atol=1e-3)
    assert score(attributes, z_sem, "age").std() > 1


@pytest.mark.parametrize("keep", [[], ["age", "grade"]])
def test_move_to_the_boundary_and_across_it(attributes, z_sem, keep):
    before = score(attributes, z_sem, "male")
    there = attributes.move_to(z_sem, "male", "boundary", keep)
    assert_close(score(attributes, there, "male"), torch.zeros(6), rtol=0, atol=1e-4)
    across = attributes.move_to(z_sem, "male", "across", keep)
    assert_close(score(attributes, across, "male"), -before, rtol=0, atol=1e-4)
    assert_close(there, (z_sem + across) / 2, rtol=0, atol=1e-3)  # half of the way


def test_move_to_the_score_that_a_code_has_moves_nothing(attributes, z_sem):
    for z in z_sem.split(1):
        assert_close(attributes.move_to(z, "grade", score(attributes, z, "grade").item()), z, rtol=0, atol=1e-4)


def test_move_to_is_the_smallest_move_to_that_score(attributes, z_sem):
    step = attributes.statistics.normalize(attributes.move_to(z_sem, "age", 60)) - attributes.statistics.normalize(
        z_sem
    )
    w = attributes.weight[0]
    (wanted,) = attributes.summary("age").target_scores(torch.zeros(1), 60)
    needed = (wanted - score(attributes, z_sem, "age")).abs() / w.norm()  # the distance of a plane
    assert_close(step.norm(dim=1), needed, rtol=1e-3, atol=1e-4)


def test_move_to_equals_the_move_of_the_amount_that_leads_there(attributes, z_sem):
    moved = attributes.move(z_sem, "age", 0.2)
    for z, expected in zip(z_sem.split(1), moved.split(1)):
        target = value_of(attributes, score(attributes, expected, "age").item())
        assert_close(attributes.move_to(z, "age", target), expected, rtol=0, atol=1e-3)


@pytest.fixture
def blunt() -> tuple[AttributeDirections, torch.Tensor, torch.Tensor]:
    """Codes that tell little of an attribute, whose regression shrinks its values to their mean; with both."""
    value = 3 + 2 * torch.randn(4000)
    z_sem = torch.randn(4000, DIMENSIONS)
    z_sem[:, 0] += 0.3 * value
    z_sem[:, 1] -= 0.2 * value
    return AttributeDirections.fit(z_sem, {"size": value}, regularization=1e6), z_sem, value


def test_a_value_is_reached_at_the_mean_score_of_codes_of_that_value(blunt):
    attributes, z_sem, value = blunt
    slope, intercept = np.polyfit(value.numpy(), score(attributes, z_sem, "size").numpy(), 1)
    assert 0.2 < slope < 0.5  # a move to a score of 7 would go far beyond a size of 7
    assert attributes.summary("size").score_per_unit == pytest.approx(slope, abs=1e-4)
    moved = attributes.move_to(z_sem[:5], "size", 7.0)
    assert_close(score(attributes, moved, "size"), torch.full((5,), 7 * slope + intercept).float(), rtol=0, atol=1e-3)


def test_between_values_along_the_pattern_lies_the_mean_difference_of_their_codes(blunt):
    attributes, z_sem, value = blunt
    small, large = (attributes.move_to(z_sem[:1], "size", target, along="pattern") for target in (1.0, 5.0))
    centred = (value - value.mean()).double()
    per_unit = centred @ z_sem.double() / centred.square().sum()  # regression of the codes on the value
    assert_close((large - small)[0].double(), 4 * per_unit, rtol=0, atol=5e-3)


@pytest.mark.parametrize(("target", "share"), [("80%", 0.8), ("112.5 %", 1.125), ("100%", 1.0)])
def test_a_share_changes_each_code_as_that_share_of_its_value_does(blunt, target, share):
    attributes, z_sem, _ = blunt
    before = score(attributes, z_sem[:50], "size")
    moved = attributes.move_to(z_sem[:50], "size", target)
    slope = attributes.summary("size").score_per_unit
    assert_close(score(attributes, moved, "size") - before, slope * (share - 1) * before, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["male", "grade"])
def test_a_share_of_a_class_means_nothing(attributes, z_sem, name):
    with pytest.raises(ValueError, match="80% of it means nothing; give a score"):
        attributes.move_to(z_sem, name, "80%")


@pytest.mark.parametrize("kind", ["binary", "ordinal"])
def test_scores_of_classes_are_reached_as_they_are(attributes, kind):
    name = {"binary": "male", "ordinal": "grade"}[kind]
    assert attributes.summary(name).kind == kind
    assert attributes.summary(name).target_scores(torch.zeros(2), 1.5).tolist() == [1.5, 1.5]


@pytest.mark.parametrize("target", ["boundary", "across"])
def test_values_have_no_boundary(attributes, z_sem, target):
    with pytest.raises(ValueError, match=f"is continuous and has no boundary; give a value, not '{target}'"):
        attributes.move_to(z_sem, "age", target)


@pytest.mark.parametrize("keep", [[], ["age"]])
def test_the_nearest_boundary_of_grades_is_reached_and_crossed(attributes, z_sem, keep):
    before = score(attributes, z_sem, "grade")
    thresholds = attributes.summary("grade").thresholds
    nearest = torch.tensor([min(thresholds, key=lambda level: abs(level - float(one))) for one in before])
    there, across = (attributes.move_to(z_sem, "grade", target, keep) for target in ("boundary", "across"))
    assert_close(score(attributes, there, "grade"), nearest, rtol=0, atol=1e-3)
    assert_close(score(attributes, across, "grade"), 2 * nearest - before, rtol=0, atol=1e-3)
    assert bool((attributes.grades(across, "grade") != attributes.grades(z_sem, "grade")).all())


@pytest.mark.parametrize("target", ["bondary", "0.5", "-80%", "80%%", math.nan, math.inf, None, True, [1.0, 2.0]])
def test_other_targets_are_refused(attributes, z_sem, target):
    with pytest.raises(ValueError, match="A target is a finite number, a share as '80%', 'boundary' or 'across'; got"):
        attributes.move_to(z_sem, "male", target)


# Keep


@pytest.mark.parametrize("keep", ["male", ["male"], ["grade", "male"], ("grade",)])
def test_kept_scores_stay_and_the_attribute_changes(attributes, z_sem, keep):
    names = [keep] if isinstance(keep, str) else keep
    moved = attributes.move(z_sem, "age", 0.5, keep)
    for name in names:
        before = score(attributes, z_sem, name)
        assert_close(score(attributes, moved, name), before, rtol=0, atol=1e-4)
        assert (score(attributes, attributes.move(z_sem, "age", 0.5), name) - before).abs().min() > 0.05
    assert (score(attributes, moved, "age") > score(attributes, z_sem, "age") + 1).all()


def test_the_length_of_a_move_does_not_depend_on_what_is_kept(attributes, z_sem):
    before = attributes.statistics.normalize(z_sem)
    for keep in ([], ["male"], ["male", "grade"]):
        step = attributes.statistics.normalize(attributes.move(z_sem, "age", 0.5, keep)) - before
        assert_close(step.norm(dim=1), torch.full((6,), 0.5 * math.sqrt(DIMENSIONS)), rtol=1e-3, atol=1e-3)


def test_direction_is_a_unit_vector_along_the_weight_and_orthogonal_to_what_is_kept(attributes):
    w = attributes.weight
    assert_close(attributes.direction("age"), w[0] / w[0].norm())
    direction = attributes.direction("age", ["male"])
    assert_close(direction.norm(), torch.tensor(1.0))
    assert_close(direction @ w[1], torch.tensor(0.0), rtol=0, atol=1e-6)
    assert direction @ w[0] > 0


def directions_of(*rows: list[float]) -> AttributeDirections:
    statistics = LatentStatistics(torch.zeros(3), torch.ones(3))
    names = list("abcd")[: len(rows)]
    return AttributeDirections(names, torch.tensor(rows), torch.zeros(len(rows)), statistics)


def test_kept_attributes_may_depend_on_each_other_and_have_any_unit():
    attributes = directions_of([1.0, 1.0, 1.0], [1e6, 0.0, 0.0], [1e-6, 0.0, 0.0], [0.0, 1e-6, 0.0])
    assert_close(attributes.direction("a", ["b", "c", "d"]), torch.tensor([0.0, 0.0, 1.0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (["b", "c"], "Nothing is left of the direction of 'a' without 'b', 'c': .* keep fewer"),
        (["c", "a"], "'a' is to be edited and cannot be kept"),
        (["e"], "Unknown attribute 'e'; there are a, b, c"),
    ],
)
def test_what_cannot_be_kept_is_named(keep, message):
    attributes = directions_of([1.0, 2.0, 0.0], [1.0, 1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0])
    for edit in (lambda z: attributes.move(z, "a", 1.0, keep), lambda z: attributes.move_to(z, "a", 1.0, keep)):
        with pytest.raises(ValueError, match=message):
            edit(torch.zeros(1, 3))


def test_attribute_without_weights_has_no_direction():
    attributes = directions_of([1.0, 2.0, 0.0], [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"Nothing is left of the direction of 'b'.*weights are zero"):
        attributes.move(torch.zeros(1, 3), "b", 1.0)
    assert_close(attributes.direction("a", ["b"]), attributes.direction("a"))


# Extrapolation


@pytest.fixture
def known_range() -> AttributeDirections:
    """One attribute with training scores from -2 to 4, standard deviation 0.5."""
    summary = AttributeSummary(score_min=-2.0, score_max=4.0, score_mean=1.0, score_std=0.5)
    statistics = LatentStatistics(torch.zeros(2), torch.ones(2))
    return AttributeDirections(["a"], torch.tensor([[1.0, 0.0]]), torch.zeros(1), statistics, {"a": summary})


@pytest.mark.parametrize(("target", "outside"), [(-2, 0), (0.0, 0), (4.0, 0), (5.0, 2), (-2.25, 0.5), (14, 20)])
def test_extrapolation_counts_standard_deviations_beyond_the_training_scores(known_range, target, outside):
    assert float(known_range.extrapolation("a", target)) == outside
    assert known_range.extrapolation("a", torch.tensor([1.0, target])).tolist() == [0, outside]


@pytest.mark.parametrize(("target", "warned"), [(4.0, None), ("boundary", None), (4.5, "1"), ("across", "2")])
def test_move_to_warns_outside_the_training_scores_and_moves_nevertheless(known_range, target, warned):
    z_sem = torch.tensor([[3.0, 0.0], [0.5, 0.0]])  # across: -3 is two standard deviations below
    if warned is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            known_range.move_to(z_sem, "a", target)
    else:
        with pytest.warns(UserWarning, match=f"'a': .* up to {warned} standard deviations outside .* -2 to 4"):
            moved = known_range.move_to(z_sem, "a", target)
        assert moved[0, 0] == (target if target != "across" else -3)


def test_where_the_training_scores_are_not_known_nothing_is_said_about_them():
    attributes = directions_of([1.0, 0.0, 0.0])
    assert attributes.extrapolation("a", 1e6).isnan()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attributes.move_to(torch.zeros(1, 3), "a", 1e6)


def test_unknown_attribute_is_an_error_in_every_method(attributes, z_sem):
    for call in (
        lambda: attributes.move_to(z_sem, "sex", 1.0),
        lambda: attributes.direction("sex"),
        lambda: attributes.extrapolation("sex", 1.0),
        lambda: attributes.grades(z_sem, "sex"),
        lambda: attributes.summary("sex"),
    ):
        with pytest.raises(ValueError, match="'sex'; there are age, male, grade"):
            call()
