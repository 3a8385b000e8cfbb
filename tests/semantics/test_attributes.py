# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.testing import assert_close

from monai_diffae.semantics import AttributeDirections, LatentStatistics

DIMENSIONS = 8


def separable(count: int = 400) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Codes of unequal scales, labels that are noisy linear functions of them, and the true directions."""
    z_normalized = torch.randn(count, DIMENSIONS)
    directions = {"lesion": torch.randn(DIMENSIONS), "left": torch.randn(DIMENSIONS)}
    labels = {}
    for name, direction in directions.items():
        logit = z_normalized @ direction / direction.norm() + 0.3 * torch.randn(count)
        labels[name] = (logit > 0.5).long()
    return z_normalized * torch.logspace(-1, 1, DIMENSIONS) + 3, labels, directions


@pytest.fixture
def attributes() -> AttributeDirections:
    z_sem, labels, _ = separable()
    return AttributeDirections.fit(z_sem, labels)


# Fit


def test_fit_finds_the_true_direction_and_measures_it():
    z_sem, labels, directions = separable()
    attributes = AttributeDirections.fit(z_sem, labels)
    assert attributes.names == ["lesion", "left"]
    for weight, name in zip(attributes.weight, attributes.names, strict=True):
        assert torch.cosine_similarity(weight, directions[name], dim=0) > 0.9
        assert 0.9 < attributes.summaries[name].cross_validated["auroc"] <= 1.0


def test_scores_are_the_decision_function_of_scikit_learn():
    z_sem, labels, _ = separable()
    attributes = AttributeDirections.fit(z_sem, labels, regularization=0.1)
    values = z_sem.double().numpy()
    values = (values - values.mean(axis=0)) / values.std(axis=0, ddof=1)
    for k, name in enumerate(labels):
        classifier = LogisticRegression(C=0.1, class_weight="balanced").fit(values, labels[name].numpy())
        expected = torch.from_numpy(classifier.decision_function(values)).float()
        assert_close(attributes.scores(z_sem)[:, k], expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_labels_of_any_dtype_give_the_same_directions(dtype):
    z_sem, labels, _ = separable(100)
    expected = AttributeDirections.fit(z_sem, labels)
    fitted = AttributeDirections.fit(z_sem, {name: values.to(dtype) for name, values in labels.items()})
    assert torch.equal(fitted.weight, expected.weight)
    assert fitted.summaries == expected.summaries


def test_rare_attribute_is_weighted_as_its_opposite():
    z_sem = torch.cat([torch.randn(190, 2), torch.randn(10, 2) + 4])
    rare = AttributeDirections.fit(z_sem, {"rare": torch.arange(200) >= 190})
    middle = torch.stack([z_sem[:190].mean(dim=0), z_sem[190:].mean(dim=0)]).mean(dim=0)
    spread = rare.scores(z_sem[190:]).mean() - rare.scores(z_sem[:190]).mean()
    assert rare.scores(middle[None]).abs() < 0.15 * spread  # the boundary lies between the classes


# Cross-validation


def grouped_codes_of_random_labels() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes that tell the group and nothing else, labels that are drawn a group."""
    groups = torch.arange(60).repeat_interleave(5)
    label_of_group = torch.randperm(60) % 2
    z_sem = torch.randn(60, 40)[groups] + 0.1 * torch.randn(300, 40)
    return z_sem, label_of_group[groups], groups


def test_groups_keep_the_folds_from_leaking():
    z_sem, labels, groups = grouped_codes_of_random_labels()
    leaking, honest = (
        AttributeDirections.fit(z_sem, {"random": labels}, groups=g, regularization=1.0)
        .summaries["random"]
        .cross_validated["auroc"]
        for g in (None, groups)
    )
    assert leaking > 0.95
    assert 0.25 < honest < 0.75


def test_groups_do_not_change_the_directions():
    z_sem, labels, groups = grouped_codes_of_random_labels()
    ungrouped, grouped = (AttributeDirections.fit(z_sem, {"random": labels}, groups=g) for g in (None, groups))
    assert torch.equal(ungrouped.weight, grouped.weight)


@pytest.mark.parametrize(("num_folds", "measured"), [(2, True), (3, True), (4, False)])
def test_auroc_is_skipped_where_a_class_has_fewer_groups_than_there_are_folds(num_folds, measured):
    groups = torch.arange(12).repeat_interleave(5)
    labels = (groups % 4 == 0).long()  # of three groups
    attributes = AttributeDirections.fit(torch.randn(60, 4), {"rare": labels}, groups=groups, num_folds=num_folds)
    assert list(attributes.summaries["rare"].cross_validated) == (["auroc"] if measured else [])


@pytest.mark.parametrize("positives", [range(0, 100, 20), range(0, 100, 5)], ids=["few", "periodic"])
def test_measured_auroc_of_a_rare_attribute_is_a_number(positives):
    labels = torch.zeros(100)
    labels[list(positives)] = 1
    attributes = AttributeDirections.fit(torch.randn(100, 4), {"rare": labels})
    assert 0 <= attributes.summaries["rare"].cross_validated["auroc"] <= 1


# Move


def test_move_changes_the_logit_by_amount_times_root_of_dimensions_times_length_of_the_weight(attributes):
    z_sem = 3 * torch.randn(5, DIMENSIONS)
    before = attributes.scores(z_sem)
    for amount in (-0.5, 0.1, 0.3, 2.0):
        change = attributes.scores(attributes.move(z_sem, "left", amount)) - before
        expected = amount * math.sqrt(DIMENSIONS) * attributes.weight[1].norm()
        assert_close(change[:, 1], expected.expand(5), rtol=1e-3, atol=1e-3)


def test_move_is_monotonic_and_crosses_the_boundary(attributes):
    z_sem = 3 * torch.randn(5, DIMENSIONS)
    moved = [attributes.scores(attributes.move(z_sem, "lesion", amount))[:, 0] for amount in (-5, -1, 0, 1, 5)]
    assert all((after > before).all() for before, after in itertools.pairwise(moved))
    assert (moved[0] < 0).all()
    assert (moved[-1] > 0).all()


def test_negative_move_undoes_the_move_and_zero_moves_nothing(attributes):
    z_sem = torch.randn(5, DIMENSIONS)
    there = attributes.move(z_sem, "lesion", 0.7)
    assert (there - z_sem).abs().max() > 0.1
    assert_close(attributes.move(there, "lesion", -0.7), z_sem, rtol=0, atol=1e-4)
    assert_close(attributes.move(z_sem, "lesion", 0.0), z_sem, rtol=0, atol=1e-5)


# Errors


def test_unknown_attribute_is_an_error_that_names_the_known_ones(attributes):
    with pytest.raises(ValueError, match="'age'; there are lesion, left"):
        attributes.move(torch.zeros(1, DIMENSIONS), "age", 0.3)
    assert [attributes.index(name) for name in ("lesion", "left")] == [0, 1]


@pytest.mark.parametrize(("weight", "bias"), [((1, 4), (2,)), ((2, 3), (2,)), ((2, 4), (1,)), ((2, 4), (2, 1))])
def test_weights_that_do_not_fit_names_and_statistics_are_an_error(weight, bias):
    statistics = LatentStatistics(torch.zeros(4), torch.ones(4))
    with pytest.raises(ValueError, match=r"weight of shape \(2, 4\) and bias of shape \(2,\) for 2 attributes, got"):
        AttributeDirections(["a", "b"], torch.zeros(weight), torch.zeros(bias), statistics)
