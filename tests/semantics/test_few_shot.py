# SPDX-License-Identifier: Apache-2.0
import logging

import pytest
import torch

from monai_diffae.semantics import fit_few_shot

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


def test_unlabelled_codes_are_not_used_where_there_are_negative_ones(codes):
    z_sem, truth = codes
    labels = truth.clone()
    labels[40:] = NAN
    few = fit_few_shot(z_sem[:40], truth[:40], "apart")
    torch.testing.assert_close(fit_few_shot(z_sem, labels, "apart").weight, few.weight)


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
