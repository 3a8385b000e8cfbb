# SPDX-License-Identifier: Apache-2.0
"""Edits along the pattern, covariance of the codes times weight: the likeliest codes with the wanted score."""

import math

import numpy as np
import pytest
import torch
from earlier_files import loaded_without
from scipy.optimize import minimize
from torch.testing import assert_close

from monai_diffae.semantics import AttributeDirections, LatentStatistics

DIMENSIONS = 6


@pytest.fixture
def z_sem() -> torch.Tensor:
    """Codes whose dimensions depend on each other, in unlike units."""
    mix = torch.randn(3, DIMENSIONS)
    return (torch.randn(300, 3) @ mix + 0.3 * torch.randn(300, DIMENSIONS)) * torch.logspace(-1, 1, DIMENSIONS) + 3


@pytest.fixture
def labels(z_sem) -> dict[str, torch.Tensor]:
    z = (z_sem - z_sem.mean(dim=0)) / z_sem.std(dim=0)
    noise = torch.randn(3, len(z))
    labels = {"age": 50 + 10 * (z[:, 0] + z[:, 1] + noise[0]), "male": (z[:, 0] - z[:, 2] + noise[1] > 0).double()}
    return labels | {"size": 1e-3 * (z[:, 1] + z[:, 3] + noise[2])}


@pytest.fixture
def attributes(z_sem, labels) -> AttributeDirections:
    return AttributeDirections.fit(z_sem, labels, regularization=1.0)


def covariance_of(attributes: AttributeDirections, z_sem: torch.Tensor) -> torch.Tensor:
    return torch.cov(attributes.statistics.normalize(z_sem).double().T)


def step_of(attributes: AttributeDirections, z_sem: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    return (attributes.statistics.normalize(moved) - attributes.statistics.normalize(z_sem)).double()


def test_the_pattern_is_the_covariance_of_the_labelled_codes_times_the_weight(attributes, z_sem, labels):
    expected = attributes.weight.double() @ covariance_of(attributes, z_sem)
    assert_close(attributes.pattern.double(), expected, rtol=1e-4, atol=1e-5)
    labels["age"][100:] = math.nan
    labels["stage"] = (labels["size"] * 1e3).round().clamp(-1, 1)
    labels["stage"][100:] = math.nan
    some = AttributeDirections.fit(z_sem, labels, kinds={"stage": "ordinal"}, regularization=1.0)
    assert some.summaries["age"].num_labels == 100
    rows = [some.index(name) for name in ("age", "stage")]
    expected = some.weight[rows].double() @ covariance_of(some, z_sem[:100])
    assert_close(some.pattern[rows].double(), expected, rtol=1e-4, atol=1e-5)
    assert_close(some.pattern[1:3], attributes.pattern[1:])  # of attributes with all labels


def test_codes_without_a_label_of_a_class_tell_how_codes_vary(z_sem, labels):
    labels["male"][100:] = math.nan  # a lesion on the other side, say
    some = AttributeDirections.fit(z_sem, labels, regularization=1.0)
    assert some.summaries["male"].num_labels == 100
    expected = some.weight[1].double() @ covariance_of(some, z_sem)
    assert_close(some.pattern[1].double(), expected, rtol=1e-4, atol=1e-5)


def test_codes_without_a_label_change_neither_the_model_nor_its_pattern(z_sem, labels):
    labels["age"][100:] = math.nan
    fitted = AttributeDirections.fit(z_sem, labels, regularization=1.0)
    changed = z_sem.clone()
    changed[100:] = changed[100:].flip(0)  # the statistics stay
    changed[100:, 0], changed[100:, 1] = z_sem[100:, 0], z_sem[100:, 1]
    again = AttributeDirections.fit(changed, labels, regularization=1.0)
    assert_close(again.pattern[0], fitted.pattern[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(again.pattern[1], fitted.pattern[1], rtol=1e-2)


@pytest.mark.parametrize("name", ["age", "size"])
def test_the_pattern_is_how_codes_differ_with_the_score(attributes, z_sem, name):
    scores = attributes.scores(z_sem)[:, attributes.index(name)].double()
    centred = attributes.statistics.normalize(z_sem).double()
    slopes = centred.T @ (scores - scores.mean()) / (scores - scores.mean()).square().sum()
    direction = attributes.direction(name, along="pattern").double()
    assert_close(direction, slopes / slopes.norm(), rtol=0, atol=1e-5)
    assert torch.dot(direction, attributes.direction(name).double()) < 0.95  # not the weight's


@pytest.mark.parametrize("keep", [[], "male", ["male", "size"]])
@pytest.mark.parametrize("along", ["weight", "pattern"])
def test_moves_reach_the_score_and_leave_the_kept_ones(attributes, z_sem, keep, along):
    z_sem = z_sem[:6]
    moved = attributes.move_to(z_sem, "age", 55.0, keep, along)
    scale = attributes.scores(z_sem).std(dim=0)
    change = (attributes.scores(moved) - attributes.scores(z_sem)) / scale
    wanted = attributes.summary("age").target_scores(torch.zeros(6), 55.0)
    assert_close(attributes.scores(moved)[:, 0], wanted, rtol=0, atol=1e-3)
    kept = [attributes.index(name) for name in ([keep] if isinstance(keep, str) else keep)]
    assert_close(change[:, kept], torch.zeros(6, len(kept)), rtol=0, atol=1e-4)
    longer = attributes.move(z_sem, "age", 0.5, keep, along)
    assert (attributes.scores(longer)[:, 0] > attributes.scores(z_sem)[:, 0]).all()
    assert_close(
        step_of(attributes, z_sem, longer).norm(dim=1),
        torch.full((6,), 0.5 * math.sqrt(DIMENSIONS), dtype=torch.float64),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("keep", [[], ["male"], ["male", "size"]])
def test_the_move_along_the_pattern_is_the_likeliest_with_these_scores(attributes, z_sem, keep):
    precision = torch.linalg.inv(covariance_of(attributes, z_sem))
    z = z_sem[:1]
    step = step_of(attributes, z, attributes.move_to(z, "age", 60.0, keep, "pattern"))[0]
    rows = [0] + [attributes.index(name) for name in keep]
    weights = torch.nn.functional.normalize(attributes.weight[rows].double())
    wanted = weights @ step
    found = minimize(
        lambda d: d @ precision.numpy() @ d,
        np.zeros(DIMENSIONS),
        jac=lambda d: 2 * precision.numpy() @ d,
        constraints={"type": "eq", "fun": lambda d: (weights @ torch.from_numpy(d) - wanted).numpy()},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert found.success
    assert_close(step, torch.from_numpy(found.x), rtol=1e-3, atol=1e-3)
    plain = step_of(attributes, z, attributes.move_to(z, "age", 60.0, keep))[0]
    assert plain.norm() < step.norm()
    assert step @ precision @ step < 0.9 * (plain @ precision @ plain)


def test_a_class_mean_is_approached_by_the_likeliest_correction_that_keeps_scores(attributes, z_sem):
    z = z_sem[:5]
    free, kept = (attributes.move_to_class_mean(z, "male", 0.7, keep, "pattern") for keep in ([], ["age", "size"]))
    assert_close(free, attributes.move_to_class_mean(z, "male", 0.7))
    out = step_of(attributes, kept, free)
    span = attributes.pattern[[0, 2]].double()
    assert_close(out @ torch.linalg.pinv(span) @ span, out, rtol=0, atol=1e-4)
    change = (attributes.scores(kept) - attributes.scores(z)) / attributes.scores(z_sem).std(dim=0)
    assert_close(change[:, [0, 2]], torch.zeros(5, 2), rtol=0, atol=1e-4)
    assert out.abs().max() > 0.05


def test_kept_patterns_may_depend_on_each_other(z_sem, labels):
    twice = labels | {"again": labels["size"] * 1e6, "none": labels["male"]}
    attributes = AttributeDirections.fit(z_sem, twice, regularization=1.0)
    attributes.weight[4], attributes.pattern[4] = 0.0, 0.0
    once = attributes.direction("age", ["size"], "pattern")
    assert_close(attributes.direction("age", ["size", "again", "none"], "pattern"), once, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match=r"Nothing is left of the direction of 'again' without 'size': .* keep fewer"):
        attributes.direction("again", ["size"], "pattern")
    with pytest.raises(ValueError, match=r"Nothing is left of the direction of 'none' .* weights are zero"):
        attributes.direction("none", along="pattern")


def test_moves_along_the_pattern_stay_on_the_device_and_in_the_type_of_the_codes(attributes, z_sem, device):
    expected = attributes.move_to(z_sem, "age", 55.0, ["male"], "pattern")
    moved = attributes.to(device).move_to(z_sem.to(device), "age", 55.0, ["male"], "pattern")
    assert (moved.device.type, moved.dtype) == (torch.device(device).type, torch.float32)
    assert_close(moved.cpu(), expected, rtol=1e-4, atol=1e-4)


# Files


def test_the_file_keeps_the_patterns(attributes, z_sem, tmp_path):
    attributes.save(tmp_path / "a.pt")
    loaded = AttributeDirections.load(tmp_path / "a.pt")
    assert torch.equal(loaded.pattern, attributes.pattern)
    moved = loaded.move(z_sem, "size", 0.4, "age", "pattern")
    assert torch.equal(moved, attributes.move(z_sem, "size", 0.4, "age", "pattern"))


def test_a_file_without_patterns_is_read_and_says_what_it_lacks(attributes, z_sem, tmp_path):
    loaded = loaded_without("pattern", attributes, tmp_path / "a.pt")
    assert torch.equal(loaded.move_to(z_sem, "age", 50.0, "male"), attributes.move_to(z_sem, "age", 50.0, "male"))
    with pytest.raises(ValueError, match=r"pattern of 'age' is not known: .* Fit it again \(fit_attributes.yaml\), or"):
        loaded.move_to(z_sem, "age", 50.0, along="pattern")
    with pytest.raises(ValueError, match="pattern of 'male' is not known"):
        loaded.move(z_sem, "age", 1.0, ["male"], "pattern")


def test_a_pattern_of_another_shape_and_another_way_are_refused(attributes, z_sem):
    statistics = LatentStatistics(torch.zeros(2), torch.ones(2))
    with pytest.raises(ValueError, match=r"pattern of weight's shape \(1, 2\), got \(2,\)"):
        AttributeDirections(["a"], torch.ones(1, 2), torch.zeros(1), statistics, pattern=torch.zeros(2))
    with pytest.raises(ValueError, match="along must be one of weight, pattern; got 'gradient'"):
        attributes.direction("age", along="gradient")
    with pytest.raises(ValueError, match="Unknown attribute 'sex'"):
        attributes.direction("sex", along="pattern")
