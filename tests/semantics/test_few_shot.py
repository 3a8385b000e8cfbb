# SPDX-License-Identifier: Apache-2.0
import logging
import math

import pytest
import torch

from monai_diffae.semantics import AttributeSummary, fit_few_shot

NAN = float("nan")


@pytest.fixture
def codes() -> tuple[torch.Tensor, torch.Tensor]:
    """400 codes, a quarter of a class that lies apart along one direction."""
    positive = (torch.arange(400) % 4 == 0).double()
    z_sem = torch.randn(400, 6)
    z_sem[:, 2] += 4 * positive
    return z_sem, positive


def accuracy(directions, z_sem, truth) -> float:
    return ((directions.scores(z_sem)[:, 0] > 0) == (truth == 1)).double().mean().item()


@pytest.mark.parametrize("negatives", [True, False])
def test_twenty_labels_tell_the_class(codes, negatives):
    z_sem, truth = codes
    labels = torch.full((400,), NAN, dtype=torch.float64)
    labels[torch.nonzero(truth == 1).flatten()[:10]] = 1
    if negatives:
        labels[torch.nonzero(truth == 0).flatten()[:10]] = 0
    directions = fit_few_shot(z_sem, labels, "apart")
    assert directions.names == ["apart"]
    assert directions.weight.abs().argmax() == 2
    assert accuracy(directions, z_sem[200:], truth[200:]) > (0.9 if negatives else 0.8)


@pytest.mark.parametrize("negatives", [10, 0])
def test_unlabelled_codes_stand_among_the_negative_ones(codes, negatives):
    z_sem, truth = codes
    labels = torch.where((truth == 1) & (torch.arange(400) < 80), 1.0, NAN)
    labels[torch.nonzero(truth == 0).flatten()[:negatives]] = 0
    few = fit_few_shot(z_sem, labels, "apart")
    torch.testing.assert_close(few.weight, fit_few_shot(z_sem, (labels == 1).double(), "apart").weight)
    summary = few.summary("apart")
    assert (summary.num_labels, summary.num_positive, summary.num_unlabelled) == (400, 20, 380 - negatives)


def test_unlabelled_codes_tell_a_class_that_few_negative_ones_do_not():
    random = torch.Generator().manual_seed(0)
    truth = (torch.arange(2000) % 10 == 0).double()
    z_sem = torch.randn(2000, 40, generator=random)
    z_sem[:, 3] += 3 * truth
    labels = torch.full((2000,), NAN, dtype=torch.float64)
    labels[torch.nonzero(truth == 1).flatten()[:20]] = 1
    labels[torch.nonzero(truth == 0).flatten()[:20]] = 0
    precision = {}
    for name, used in (("labelled", ~labels[:1000].isnan()), ("all", torch.ones(1000, dtype=torch.bool))):
        few = fit_few_shot(z_sem[:1000][used], labels[:1000][used], "apart")
        accepted = few.summary("apart").probability(few.scores(z_sem[1000:])[:, 0], prior=0.1)
        precision[name] = (accepted * truth[1000:]).sum() / accepted.sum()
    assert precision["all"] > precision["labelled"] + 0.1


def normal_logits(num_unlabelled: int, num_negative: int, prior: float, count: int = 20_000):
    """Logits that a perfect model of balanced classes gives on a coordinate, N(2, 1) of the class, else N(0, 1)."""
    x = torch.linspace(-6, 8, count, dtype=torch.float64)
    without, having = (torch.exp(-((x - mean) ** 2) / 2) for mean in (0.0, 2.0))
    everything = (1 - prior) * without + prior * having
    others = (num_negative * without + num_unlabelled * everything) / (num_negative + num_unlabelled)
    return (having / others).log(), prior * having / everything


@pytest.mark.parametrize(("num_unlabelled", "num_negative"), [(0, 20), (1000, 0), (1000, 20), (10, 30)])
@pytest.mark.parametrize("prior", [0.1, 0.5])
def test_the_probability_is_that_of_the_class_whatever_stood_for_its_opposite(num_unlabelled, num_negative, prior):
    logits, expected = normal_logits(num_unlabelled, num_negative, prior)
    summary = AttributeSummary(
        num_labels=20 + num_negative + num_unlabelled, num_positive=20, num_unlabelled=num_unlabelled
    )
    torch.testing.assert_close(summary.probability(logits, prior), expected, rtol=1e-6, atol=1e-9)


def test_the_probability_of_a_logit_beyond_all_data_is_one_and_no_more():
    summary = AttributeSummary(num_labels=1020, num_positive=20, num_unlabelled=1000)
    probability = summary.probability(torch.tensor([-1000.0, 0.0, 2.0, 50.0, 1000.0]), 0.1)
    torch.testing.assert_close(probability, torch.tensor([0.0, 0.1, 0.1 * math.e**2, 1.0, 1.0]))


@pytest.mark.parametrize(("kind", "prior"), [("continuous", 0.5), ("ordinal", 0.5), ("binary", 0), ("binary", 1.0)])
def test_other_kinds_and_priors_have_no_probability(kind, prior):
    with pytest.raises(ValueError, match=f"a binary attribute and a prior in .*; got {kind} and {prior}"):
        AttributeSummary(kind).probability(torch.zeros(1), prior)


def test_a_weaker_regularisation_gives_surer_probabilities(codes):
    z_sem, truth = codes
    spread = [fit_few_shot(z_sem, truth, "apart", regularization=c).scores(z_sem).std() for c in (0.001, 1.0)]
    assert spread[1] > 2 * spread[0]


def test_the_log_tells_the_numbers(codes, caplog):
    with caplog.at_level(logging.INFO, "monai_diffae"):
        fit_few_shot(codes[0], codes[1], "apart")
    assert "100 positive, 300 negative, 0 unlabelled" in caplog.text


@pytest.mark.parametrize("labels", [[0.0, 0, NAN], [1.0, 1, 1], [NAN, NAN, NAN]])
def test_labels_of_one_side_only_are_an_error(labels):
    with pytest.raises(ValueError, match="'apart' needs positive labels"):
        fit_few_shot(torch.randn(3, 2), torch.tensor(labels), "apart")


@pytest.mark.parametrize("labels", [[0.0, 1, 2], [0.0, 1]])
def test_other_labels_are_an_error(labels):
    with pytest.raises(ValueError, match="3 labels of 1, 0 or NaN"):
        fit_few_shot(torch.randn(3, 2), torch.tensor(labels), "apart")
