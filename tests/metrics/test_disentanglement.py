# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from monai_diffae.metrics import dci, labels_that_vary_together, total_auroc_difference
from monai_diffae.metrics.disentanglement import dci_from_importance


def test_one_feature_an_attribute_is_perfect():
    assert dci_from_importance(np.diag([1.0, 2.0, 3.0])) == {"disentanglement": 1, "completeness": 1}


def test_features_for_all_attributes_are_the_contrary():
    measured = dci_from_importance(np.ones((4, 3)))
    assert measured["disentanglement"] == pytest.approx(0)
    assert measured["completeness"] == pytest.approx(0)


def test_two_features_for_one_attribute_are_disentangled_and_incomplete():
    measured = dci_from_importance(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    assert measured["disentanglement"] == 1
    # Half of the weight is complete; the other half is spread over two of four features: 1 - log 2 / log 4.
    assert measured["completeness"] == pytest.approx(0.5 * 1 + 0.5 * 0.5)


def test_dci_of_attributes_that_are_features():
    random = np.random.default_rng(0)
    z = random.normal(size=(400, 5))
    labels = {"binary": (z[:, 1] > 0).astype(float), "value": 3 * z[:, 3]}
    good = dci(z, labels)
    mixed = dci(z @ np.linalg.qr(random.normal(size=(5, 5)))[0], labels)
    assert good["disentanglement"] > 0.85 > 0.6 > mixed["disentanglement"]
    assert good["completeness"] > 0.8 > 0.6 > mixed["completeness"]
    assert good["informativeness"] > 0.75


def test_informativeness_is_of_subjects_that_were_left_out():
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 10)
    z = random.normal(size=(12, 40))[groups] + 0.01 * random.normal(size=(120, 40))  # each subject has its place
    labels = {name: random.normal(size=12)[groups] for name in "ab"}  # nothing to learn of other subjects
    assert dci(z, labels)["informativeness"] > 0.9
    assert dci(z, {**labels, "c": z[:, 0]}, groups)["informativeness"] < 0.5
    with pytest.raises(ValueError, match="three subjects"):
        dci(z, labels, groups % 2)


def test_auroc_difference_is_counted_for_what_one_feature_holds():
    random = np.random.default_rng(0)
    y, other = (random.integers(0, 2, 2000).astype(float) for _ in range(2))
    z = np.stack([-y, random.normal(size=2000), random.normal(size=2000)], axis=1)  # the direction does not matter
    measured = total_auroc_difference(z, {"held": y, "not_held": other})
    assert measured["captured"] == 1
    assert measured["tad"] == pytest.approx(0.48, abs=0.03)  # the best of two at random is a little above 0.5
    twice = total_auroc_difference(np.column_stack([z, y]), {"held": y})
    assert twice == {"tad": 0, "captured": 1}


def test_labels_of_one_value_are_refused():
    with pytest.raises(ValueError, match="labels of 0 and 1"):
        total_auroc_difference(np.zeros((4, 2)), {"a": np.zeros(4)})
    with pytest.raises(ValueError, match="importances"):
        dci_from_importance(np.ones((4, 1)))


def test_labels_that_are_never_known_together_are_left_out():
    nan = np.nan  # six images: two without a lesion, two with one on the left, two on the right
    labels = {
        "lesion": np.array([0, 0, 1, 1, 1, 1.0]),
        "left": np.array([0, 0, 1, 1, nan, nan]),
        "right": np.array([0, 0, nan, nan, 1, 1.0]),
        "size": np.array([1, 2, 3, nan, 5, 6.0]),
    }
    varying, known = labels_that_vary_together(labels)
    assert list(varying) == ["lesion", "right", "size"]  # without the left more images share labels than without right
    assert known.tolist() == [True, True, False, False, True, True]
    np.testing.assert_array_equal(varying["size"], [1, 2, 5, 6])


def test_labels_that_vary_together_stay():
    labels = {"a": np.array([0, 1, 0.0, np.nan]), "b": np.array([1, 2, 3, 4.0]), "same": np.ones(4)}
    varying, known = labels_that_vary_together(labels)
    assert list(varying) == ["a", "b"]
    assert known.tolist() == [True, True, True, False]


def test_no_labels_vary_together():
    varying, known = labels_that_vary_together({})
    assert not varying
    assert known.shape == (0,)
