# SPDX-License-Identifier: Apache-2.0
"""Moves to the mean code of those with, or without, a binary attribute."""

import math

import pytest
import torch
from earlier_files import loaded_without
from torch.testing import assert_close

from monai_diffae.semantics import AttributeDirections, AttributeSummary, LatentStatistics, fit_few_shot

DIMENSIONS = 8


@pytest.fixture
def z_sem() -> torch.Tensor:
    return torch.randn(200, DIMENSIONS) * torch.logspace(-1, 1, DIMENSIONS) + 3


@pytest.fixture
def labels(z_sem) -> dict[str, torch.Tensor]:
    z = (z_sem - 3) / torch.logspace(-1, 1, DIMENSIONS)
    labels = {"male": (z[:, 0] > 0.3).double(), "old": (z[:, 1] - z[:, 0] > 0).double(), "height": z[:, 2] + z[:, 0]}
    labels["male"][:50] = math.nan
    return labels | {"grade": z[:, 3].round().clamp(-1, 1)}


@pytest.fixture
def attributes(z_sem, labels) -> AttributeDirections:
    return AttributeDirections.fit(z_sem, labels, kinds={"grade": "ordinal"})


def normalized(attributes: AttributeDirections, z_sem: torch.Tensor) -> torch.Tensor:
    return attributes.statistics.normalize(z_sem)


@pytest.mark.parametrize(("share", "value"), [(1, 1), (1.0, 1), (-1.0, 0)])
def test_at_the_end_of_the_way_stands_the_mean_of_the_labelled_codes_of_the_class(
    attributes, z_sem, labels, share, value
):
    expected = z_sem[labels["male"] == value].mean(dim=0)
    moved = attributes.move_to_class_mean(z_sem, "male", share)
    assert_close(moved, expected.expand(200, -1), rtol=0, atol=1e-3)
    assert_close(attributes.class_means_of("male")[value], normalized(attributes, expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("share", [-0.75, -0.2, 0.0, 0.3, 0.75])
def test_a_share_of_the_way_is_a_straight_line(attributes, z_sem, share):
    z_sem = z_sem[:5]
    end = attributes.move_to_class_mean(z_sem, "old", math.copysign(1, share))
    moved = attributes.move_to_class_mean(z_sem, "old", share)
    assert_close(moved, torch.lerp(z_sem, end, abs(share)), rtol=0, atol=1e-4)
    # Codes of their own come as much nearer to each other.
    spread, before = (normalized(attributes, z).std(dim=0) for z in (moved, z_sem))
    assert_close(spread, (1 - abs(share)) * before, rtol=1e-3, atol=1e-5)


def test_shares_of_both_signs_lead_to_different_classes(attributes, z_sem):
    scores = [attributes.scores(attributes.move_to_class_mean(z_sem, "old", share))[:, 1] for share in (-0.9, 0.9)]
    assert (scores[0] < 0).all()
    assert (scores[1] > 0).all()


@pytest.mark.parametrize("keep", ["old", ["old"], ["old", "height", "grade"]])
@pytest.mark.parametrize("share", [-0.5, 0.75, 1.0])
def test_kept_scores_stay_and_the_rest_of_the_step_is_that_without_keeping(attributes, z_sem, keep, share):
    z_sem = z_sem[:6]
    free, kept = (attributes.move_to_class_mean(z_sem, "male", share, k) for k in ((), keep))
    rows = [attributes.index(name) for name in ([keep] if isinstance(keep, str) else keep)]
    before = attributes.scores(z_sem)
    assert_close(attributes.scores(kept)[:, rows], before[:, rows], rtol=0, atol=1e-4)
    assert (attributes.scores(free)[:, rows] - before[:, rows]).abs().max() > 0.05
    # What was taken out lies in the span of the kept weights: the smallest correction.
    out = (normalized(attributes, free) - normalized(attributes, kept)).double()
    span = attributes.weight[rows].double()
    assert_close(out @ torch.linalg.pinv(span) @ span, out, rtol=0, atol=1e-4)
    assert (attributes.scores(kept)[:, 0] - before[:, 0]).abs().max() > 0.05


def test_moves_stay_on_the_device_and_in_the_type_of_the_codes(attributes, z_sem, device):
    expected = attributes.move_to_class_mean(z_sem, "male", 0.5, ["old"])
    moved = attributes.to(device).move_to_class_mean(z_sem.to(device), "male", 0.5, ["old"])
    assert (moved.device.type, moved.dtype) == (torch.device(device).type, torch.float32)
    assert_close(moved.cpu(), expected, rtol=1e-4, atol=1e-4)


def test_the_file_keeps_the_means(attributes, z_sem, tmp_path):
    attributes.save(tmp_path / "a.pt")
    loaded = AttributeDirections.load(tmp_path / "a.pt")
    assert torch.equal(loaded.class_means_of("old"), attributes.class_means_of("old"))
    moved = loaded.move_to_class_mean(z_sem, "male", 0.4)
    assert torch.equal(moved, attributes.move_to_class_mean(z_sem, "male", 0.4))


def test_a_file_without_the_means_is_read_and_says_what_it_lacks(attributes, z_sem, tmp_path):
    loaded = loaded_without("class_means", attributes, tmp_path / "a.pt")
    assert torch.equal(loaded.move(z_sem, "male", 0.3), attributes.move(z_sem, "male", 0.3))
    with pytest.raises(ValueError, match=r"class means of 'male' are not known: .* Fit it again \(fit_attributes.yaml"):
        loaded.move_to_class_mean(z_sem, "male", 0.5)


@pytest.mark.parametrize(("name", "kind"), [("height", "continuous"), ("grade", "ordinal")])
def test_attributes_of_other_kinds_have_no_class(attributes, z_sem, name, kind):
    assert attributes.class_means[attributes.index(name)].isnan().all()
    with pytest.raises(ValueError, match=f"'{name}' is {kind} and has no two classes .* by an amount or to a target"):
        attributes.move_to_class_mean(z_sem, name, 0.5)


@pytest.mark.parametrize("share", [1.01, -2, math.nan, math.inf, True, "all", None])
def test_other_shares_are_refused(attributes, z_sem, share):
    with pytest.raises(ValueError, match=r"is a number from -1 .* to 1 .*; got"):
        attributes.move_to_class_mean(z_sem, "male", share)


@pytest.mark.parametrize(
    ("name", "keep", "message"),
    [
        ("male", ["old", "male"], "'male' is to be edited and cannot be kept"),
        ("male", "age", "Unknown attribute 'age'"),
        ("age", [], "Unknown attribute 'age'"),
    ],
)
def test_what_cannot_be_kept_or_edited_is_named(attributes, z_sem, name, keep, message):
    with pytest.raises(ValueError, match=message):
        attributes.move_to_class_mean(z_sem, name, 0.5, keep)


def test_nothing_is_moved_where_the_score_is_a_combination_of_those_kept():
    statistics, summaries = LatentStatistics(torch.zeros(2), torch.ones(2)), {"b": AttributeSummary("continuous")}
    weight = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    attributes = AttributeDirections(["a", "b"], weight, torch.zeros(2), statistics, summaries, torch.ones(2, 2, 2))
    with pytest.raises(ValueError, match="Nothing is left of the direction of 'a' without 'b'"):
        attributes.move_to_class_mean(torch.zeros(1, 2), "a", 0.5, "b")


def test_means_of_another_shape_are_refused():
    statistics = LatentStatistics(torch.zeros(2), torch.ones(2))
    with pytest.raises(ValueError, match=r"class_means of shape \(1, 2, 2\), got \(2, 2\)"):
        AttributeDirections(["a"], torch.ones(1, 2), torch.zeros(1), statistics, class_means=torch.zeros(2, 2))


def test_few_labels_give_a_class_mean_too(z_sem, labels):
    classifier = fit_few_shot(z_sem, labels["old"], "old")
    moved = classifier.move_to_class_mean(z_sem, "old", 1.0)
    assert_close(moved[0], z_sem[labels["old"] == 1].mean(dim=0), rtol=0, atol=1e-3)
