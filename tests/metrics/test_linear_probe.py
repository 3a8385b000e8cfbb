# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_diffae.metrics import LabelledFeatures, bootstrap_intervals, linear_probe, score_predictions
from monai_diffae.metrics.linear_probe import _splits


def labelled(kind: str = "binary", num_groups: int = 20, seed: int = 0) -> LabelledFeatures:
    """Four images a subject; the first feature tells the label, with noise."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(4 * num_groups, 6))
    value = x[:, 0] + 0.3 * random.normal(size=len(x))
    labels = {"binary": value > 0, "continuous": 10 * value, "classes": np.digitize(value, [-0.5, 0.5])}[kind]
    return LabelledFeatures(x, labels.astype(float), np.repeat(np.arange(num_groups), 4))


@pytest.mark.parametrize(
    ("kind", "measure", "least"), [("binary", "auroc", 0.9), ("continuous", "r2", 0.8), ("classes", "accuracy", 0.7)]
)
def test_a_label_that_features_tell_is_read(kind, measure, least):
    probe = linear_probe(labelled(kind), kind=kind)
    assert probe.kind == kind
    assert probe.scores()[measure] > least
    assert len(probe.predictions) == 80
    assert probe.num_train == 64


def test_features_that_know_subjects_tell_nothing_of_new_ones():
    """A label that is a property of the subject at random, and features that are the subject: memory, not meaning."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    labels = random.integers(0, 2, 40).astype(float)[groups]
    features = random.normal(size=(40, 30))[groups] + 0.01 * random.normal(size=(200, 30))
    data = LabelledFeatures(features, labels, groups)
    assert linear_probe(data).scores()["auroc"] < 0.7
    alone = LabelledFeatures(features, labels, np.arange(200))  # the same with every image for itself
    assert linear_probe(alone).scores()["auroc"] > 0.9


def test_training_part_is_fitted_and_other_subjects_are_predicted():
    train, test = labelled(seed=0), labelled(seed=1)
    probe = linear_probe(test, train)
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    expected = roc_auc_score(test.labels, model.fit(train.features, train.labels).decision_function(test.features))
    assert probe.scores()["auroc"] == pytest.approx(expected, abs=0.02)
    assert probe.num_train == 80


def test_few_labels_are_those_of_few_subjects_and_the_same_each_time():
    train, test = labelled(seed=0, num_groups=50), labelled(seed=1)
    few = linear_probe(test, train, share=0.1)
    assert few.num_train == 20
    again, other = linear_probe(test, train, share=0.1), linear_probe(test, train, share=0.1, seed=1)
    np.testing.assert_array_equal(few.predictions, again.predictions)
    assert (few.predictions != other.predictions).any()
    assert few.scores()["auroc"] <= linear_probe(test, train).scores()["auroc"] + 0.02


def test_unknown_labels_are_left_out():
    data = labelled()
    data.labels[::2] = np.nan
    assert len(linear_probe(data).labels) == 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 0.0}, "share"),
        ({"kind": "ordinal"}, "kind"),
    ],
)
def test_arguments_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        linear_probe(labelled(), **change)


def test_labels_that_cannot_be_probed_are_refused():
    same = LabelledFeatures(np.eye(4), np.ones(4), np.arange(4))
    with pytest.raises(ValueError, match="two values"):
        linear_probe(same)
    one_subject = LabelledFeatures(np.eye(4), np.array([0.0, 1, 0, 1]), np.zeros(4))
    with pytest.raises(ValueError, match="two subjects"):
        linear_probe(one_subject)
    with pytest.raises(ValueError, match="Expected features"):
        LabelledFeatures(np.eye(4), np.ones(3), np.zeros(4))


def test_scores_are_those_counted_by_hand():
    binary = score_predictions("binary", np.array([0, 0, 1, 1.0]), np.array([-1.0, 2.0, 1.0, 3.0]))
    assert binary["auroc"] == 0.75  # of four pairs one is in the wrong order
    assert binary["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1))
    assert binary["accuracy"] == 0.75
    assert binary["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    values = score_predictions("continuous", np.array([0.0, 1, 2]), np.array([1.0, 1, 3]))
    assert values["mae"] == pytest.approx(2 / 3)
    assert values["r2"] == pytest.approx(1 - 2 / 2)
    assert values["pearson"] == pytest.approx(np.corrcoef([0, 1, 2], [1, 1, 3])[0, 1])
    assert np.isnan(score_predictions("binary", np.zeros(3), np.zeros(3))["auroc"])


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    """Images of one subject are alike, so that their number does not narrow the interval."""
    random = np.random.default_rng(0)
    of_subject = random.normal(size=100)
    values, groups = np.repeat(of_subject, 7), np.repeat(np.arange(100), 7)
    low, high = bootstrap_intervals(lambda drawn: {"mean": values[drawn].mean()}, groups, 2000)["mean"]
    width = 2 * 1.96 * of_subject.std() / 10
    assert high - low == pytest.approx(width, rel=0.1)
    assert low < of_subject.mean() < high


def test_one_subject_has_no_interval():
    bounds = bootstrap_intervals(lambda drawn: {"mean": 1.0}, np.zeros(5))
    assert np.isnan(bounds["mean"]).all()


def test_folds_hold_both_classes_where_subjects_can_be_parted_so():
    """Of two subjects with a rare class each: a fold without it could be scored by nothing."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 10)
    labels = np.zeros(120)
    labels[[3, 4, 95]] = 1
    features = random.normal(size=(120, 3))
    features[:, 0] += 4 * labels
    for seed in range(3):
        order = random.permutation(12)
        data = LabelledFeatures(features, labels, order[groups])
        assert linear_probe(data, seed=seed).scores()["auroc"] > 0.9
        for split in _splits(data, "binary", 5):
            assert all(labels[side].any() for side in split)


def test_subjects_that_cannot_be_parted_are_refused():
    labels = np.array([0.0, 0, 1, 1, 2, 2])
    with pytest.raises(ValueError, match="two subjects"):
        linear_probe(LabelledFeatures(np.eye(6), labels, np.arange(6) // 2), kind="classes")


def test_binary_labels_are_0_and_1():
    data = labelled("binary")
    with pytest.raises(ValueError, match="Binary labels are 0 and 1"):
        linear_probe(LabelledFeatures(data.features, data.labels + 1, data.groups), kind="binary")
