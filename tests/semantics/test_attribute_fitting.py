# SPDX-License-Identifier: Apache-2.0
"""What labels of each kind give, and which labels are refused."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch.testing import assert_close

from monai_diffae.semantics import AttributeDirections

DIMENSIONS = 6
NAN = math.nan


def codes(count: int = 300) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes of unequal scales, a direction in normalised codes, and a noisy linear function of them, about N(0, 1)."""
    z_normalized, direction = torch.randn(count, DIMENSIONS), torch.randn(DIMENSIONS)
    value = z_normalized @ direction / direction.norm() + 0.2 * torch.randn(count)
    return z_normalized * torch.logspace(-1, 1, DIMENSIONS) + 3, direction, value


def graded(value: torch.Tensor, thresholds: tuple[float, ...] = (-1.0, 0.2, 0.4)) -> torch.Tensor:
    """Grades 1, 2, ..., of unequal widths."""
    return 1.0 + torch.bucketize(value, torch.tensor(thresholds))


# Continuous


def test_scores_of_a_continuous_attribute_are_values_in_its_unit_along_the_true_direction():
    z_sem, direction, value = codes()
    attributes = AttributeDirections.fit(z_sem, {"age": 60 + 12 * value}, regularization=1.0)
    assert torch.cosine_similarity(attributes.weight[0], direction, dim=0) > 0.99
    assert (attributes.scores(z_sem)[:, 0] - (60 + 12 * value)).abs().mean() < 3
    summary = attributes.summaries["age"]
    assert (summary.kind, summary.num_labels, summary.num_positive) == ("continuous", 300, None)
    assert 0.9 < summary.cross_validated["r2"] < 1
    assert 1.5 < summary.cross_validated["mae"] < 3  # 12 * 0.2 * sqrt(2 / pi) = 1.9 is the noise's


def test_continuous_attributes_are_fitted_by_ridge_regression_of_that_strength():
    z_sem, _, value = codes(50)
    attributes = AttributeDirections.fit(z_sem, {"age": value}, regularization=0.02)
    z_normalized = attributes.statistics.normalize(z_sem).double().numpy()
    ridge = Ridge(alpha=50).fit(z_normalized, value.double().numpy())
    assert_close(
        attributes.scores(z_sem)[:, 0].double(), torch.from_numpy(ridge.predict(z_normalized)), atol=1e-5, rtol=0
    )


def test_the_unit_of_a_continuous_attribute_does_not_change_its_direction():
    z_sem, _, value = codes()
    attributes = AttributeDirections.fit(z_sem, {"mm": value, "km": 1e-6 * value})
    assert_close(attributes.direction("mm"), attributes.direction("km"), rtol=0, atol=1e-5)


def test_training_scores_are_summarised():
    z_sem, _, value = codes()
    attributes = AttributeDirections.fit(z_sem, {"age": value, "old": value > 0.5})
    for k, name in enumerate(attributes.names):
        scores, summary = attributes.scores(z_sem)[:, k], attributes.summaries[name]
        found = [summary.score_min, summary.score_max, summary.score_mean, summary.score_std]
        expected = [scores.min(), scores.max(), scores.mean(), scores.std(correction=0)]
        assert_close(torch.tensor(found), torch.stack(expected), rtol=1e-3, atol=1e-4)


# Ordinal


@pytest.mark.parametrize("regularization", [0.01, 1.0])
def test_an_ordinal_attribute_has_one_direction_and_ordered_thresholds(regularization):
    z_sem, direction, value = codes()
    attributes = AttributeDirections.fit(
        z_sem, {"grade": graded(value)}, kinds={"grade": "ordinal"}, regularization=regularization
    )
    assert attributes.weight.shape == (1, DIMENSIONS)
    assert torch.cosine_similarity(attributes.weight[0], direction, dim=0) > 0.97
    summary = attributes.summaries["grade"]
    assert summary.kind == "ordinal"
    assert summary.grades == (1, 2, 3, 4)
    assert list(summary.thresholds) == sorted(summary.thresholds)
    assert set(summary.cross_validated) == {"r2", "mae"}
    assert summary.cross_validated["r2"] > 0.7


def test_grades_are_found_where_the_straight_line_through_them_fails():
    z_sem, _, value = codes(1000)
    labels = graded(value, (-1.5, 1.0, 1.2))  # nearly all are of grade 2
    attributes = AttributeDirections.fit(z_sem, {"grade": labels}, kinds={"grade": "ordinal"}, regularization=1.0)
    by_threshold = (attributes.grades(z_sem, "grade") == labels).float().mean()
    rounded = (attributes.scores(z_sem)[:, 0].round() == labels).float().mean()
    assert by_threshold > 0.85
    assert by_threshold > rounded + 0.02


def test_scores_of_an_ordinal_attribute_are_the_best_line_through_the_grades():
    z_sem, _, value = codes()
    labels = graded(value)
    attributes = AttributeDirections.fit(z_sem, {"grade": labels}, kinds={"grade": "ordinal"})
    scores = attributes.scores(z_sem)[:, 0]
    slope, intercept = np.polyfit(scores.numpy(), labels.numpy(), 1)
    assert slope == pytest.approx(1, abs=1e-3)
    assert intercept == pytest.approx(0, abs=5e-3)


def test_other_kinds_have_no_grades():
    z_sem, _, value = codes(50)
    attributes = AttributeDirections.fit(z_sem, {"age": value})
    with pytest.raises(ValueError, match="'age' is continuous and has no grades"):
        attributes.grades(z_sem, "age")


# Kinds


def test_kinds_are_inferred_where_they_are_not_given():
    z_sem, _, value = codes()
    labels = {"old": value > 0, "age": value, "grade": graded(value), "asked": graded(value), "share": value > 0}
    kinds = {"asked": "ordinal", "share": "continuous"}
    attributes = AttributeDirections.fit(z_sem, labels, kinds=kinds)
    found = {name: summary.kind for name, summary in attributes.summaries.items()}
    assert found == {"old": "binary", "age": "continuous", "grade": "continuous"} | kinds


def test_attributes_fitted_together_are_those_fitted_alone():
    z_sem, _, value = codes()
    labels = {"age": value, "old": value > 0, "grade": graded(value)}
    kinds = {"grade": "ordinal"}
    together = AttributeDirections.fit(z_sem, labels, kinds=kinds)
    for k, name in enumerate(labels):
        alone = AttributeDirections.fit(
            z_sem, {name: labels[name]}, kinds={n: v for n, v in kinds.items() if n == name}
        )
        assert torch.equal(alone.weight[0], together.weight[k])
        assert alone.summaries[name] == together.summaries[name]


# Missing labels


@pytest.mark.parametrize("kind", ["binary", "ordinal", "continuous"])
def test_codes_without_a_label_are_left_out_for_that_attribute_only(kind):
    z_sem, _, value = codes()
    labels = {"binary": (value > 0).float(), "ordinal": graded(value), "continuous": value.clone()}[kind]
    some = labels.clone()
    some[100:] = NAN
    attributes = AttributeDirections.fit(z_sem, {"some": some, "all": labels}, kinds={"some": kind, "all": kind})
    assert attributes.summaries["some"].num_labels == 100
    assert attributes.summaries["all"].num_labels == 300
    other = torch.where(some.isnan(), NAN, labels)  # whatever the codes without a label are
    z_other = z_sem.clone()
    z_other[100:] = z_sem[100:].flip(0)  # keeps the statistics
    again = AttributeDirections.fit(z_other, {"some": other}, kinds={"some": kind})
    assert_close(again.weight[0], attributes.weight[0], rtol=1e-3, atol=1e-5)
    assert (attributes.weight[0] - attributes.weight[1]).abs().max() > 1e-3


# Class weights


def test_class_weight_moves_the_boundary_towards_the_rare_class():
    z_sem = torch.cat([torch.randn(190, 2), torch.randn(10, 2) + 2])
    labels = {"rare": torch.arange(200) >= 190}
    positive = {
        weight: int((AttributeDirections.fit(z_sem, labels, class_weight=weight).scores(z_sem) > 0).sum())
        for weight in (None, 1.0, 5.0, 19.0, "balanced")
    }
    assert positive[None] == positive[1.0] < positive[5.0] < positive[19.0]
    assert positive["balanced"] > positive[5.0]


@pytest.mark.parametrize("class_weight", ["even", 0, -1.0, NAN, True])
def test_other_class_weights_are_refused(class_weight):
    with pytest.raises(ValueError, match="class_weight must be 'balanced', None or a positive number"):
        AttributeDirections.fit(torch.randn(20, 3), {"a": torch.arange(20) % 2}, class_weight=class_weight)


# Cross-validation


@pytest.mark.parametrize("kind", ["continuous", "ordinal"])
def test_groups_keep_the_folds_of_values_from_leaking(kind):
    groups = torch.arange(60).repeat_interleave(5)
    labels = (torch.randint(4, (60,)).float())[groups]  # a grade a group, which the codes tell only by the group
    z_sem = torch.randn(60, 40)[groups] + 0.1 * torch.randn(300, 40)
    leaking, honest = (
        AttributeDirections.fit(z_sem, {"a": labels}, groups=g, kinds={"a": kind}, regularization=1.0)
        .summaries["a"]
        .cross_validated
        for g in (None, groups)
    )
    assert leaking["r2"] > 0.4
    assert honest["r2"] < 0.2
    assert honest["mae"] > leaking["mae"]


@pytest.mark.parametrize(("num_groups", "measured"), [(4, False), (5, True)])
def test_values_of_fewer_groups_than_folds_are_not_cross_validated(num_groups, measured):
    z_sem, _, value = codes(40)
    attributes = AttributeDirections.fit(z_sem, {"age": value}, groups=torch.arange(40) % num_groups)
    assert set(attributes.summaries["age"].cross_validated) == ({"r2", "mae"} if measured else set())


def test_values_that_vary_in_one_group_only_are_not_cross_validated():
    z_sem, groups = torch.randn(30, 3), torch.arange(30) // 6
    labels = torch.where(groups == 4, torch.arange(30) % 3, 0)
    for kind in ("continuous", "ordinal"):
        attributes = AttributeDirections.fit(z_sem, {"a": labels}, groups=groups, kinds={"a": kind})
        assert attributes.summaries["a"].cross_validated == {}


# Errors


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (None, torch.ones(20), "is binary and needs labels of 0 and 1, both of them present; got 20"),
        (None, torch.zeros(20), "is binary and needs labels of 0 and 1"),
        (None, torch.full((20,), 7.0), r"two values or more; got 20 labels with the values \[7.0\]"),
        (None, torch.full((20,), NAN), "two values or more; got 0 labels"),
        (None, torch.tensor([math.inf] + 19 * [1.0]), "needs finite labels"),
        ("binary", torch.arange(20) % 3, r"is binary and needs labels of 0 and 1.*\[0.0, 1.0, 2.0\]"),
        ("ordinal", torch.arange(20) / 2, r"integer grades, 3 to 20 .*\[0.0, 0.5, 1.0"),
        ("ordinal", torch.arange(20) % 2, "integer grades, 3 to 20"),
        ("nominal", torch.arange(20) % 3, "must be one of binary, ordinal, continuous; got kind 'nominal'"),
    ],
)
def test_labels_that_do_not_suit_the_kind_are_an_error_that_names_the_attribute(kind, values, message):
    with pytest.raises(ValueError, match=f"'a' .*{message}"):
        AttributeDirections.fit(torch.randn(20, 3), {"a": values}, kinds={"a": kind} if kind else None)


def test_too_many_grades_are_refused():
    with pytest.raises(ValueError, match="3 to 20 of them"):
        AttributeDirections.fit(torch.randn(63, 3), {"a": torch.arange(63) % 21}, kinds={"a": "ordinal"})


@pytest.mark.parametrize("shape", [(19,), (20, 1)])
def test_labels_of_another_shape_are_an_error_that_names_it(shape):
    labels = torch.arange(math.prod(shape)).reshape(shape) % 2
    with pytest.raises(ValueError, match=rf"'lesion' needs 20 labels, one a code; got shape \({shape[0]},"):
        AttributeDirections.fit(torch.randn(20, 3), {"lesion": labels})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kinds": {"b": "ordinal"}}, r"kinds names \['b'\], which are not among the labels \['a'\]"),
        ({"regularization": 0.0}, "regularization above 0"),
        ({"labels": {}}, "Expected labels"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    arguments = {"labels": {"a": torch.arange(20) % 2}} | arguments
    with pytest.raises(ValueError, match=message):
        AttributeDirections.fit(torch.randn(20, 3), **arguments)


def test_folds_that_lack_a_class_give_no_score_instead_of_nan():
    sizes = [3, 6, 4, 2, 7, 6]
    labels = "0011000001111010000000001001"
    groups = torch.repeat_interleave(torch.arange(6), torch.tensor(sizes))
    z_sem = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(0))
    fitted = AttributeDirections.fit(z_sem, {"rare": torch.tensor([float(x) for x in labels])}, groups=groups)
    assert fitted.summaries["rare"].cross_validated == {}


@pytest.mark.parametrize("kind", ["continuous", "binary"])
def test_cross_validation_does_not_follow_a_cyclic_order(kind):
    """Ten classes in turn, of which each lies by itself: folds of every fifth code would hold two classes alone."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(400) % 10
    z = torch.eye(10)[classes] + 0.1 * torch.randn(400, 10, generator=generator)
    labels = torch.randn(10, generator=generator)[classes] if kind == "continuous" else (classes % 5 == 2).double()
    fitted = AttributeDirections.fit(
        z, {"a": labels.double()}, torch.arange(400), kinds={"a": kind}, regularization=1.0
    )
    (score, *_) = fitted.summaries["a"].cross_validated.values()
    assert score > 0.9
