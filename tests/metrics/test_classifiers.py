# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_diffae.metrics.evaluation import ClassifierScore


class Outputs(torch.nn.Module):
    """As many logits as it is asked for: the mean times 1, 2, ..."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("factors", torch.arange(1.0, count + 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(1, 2, 3))[:, None] * self.factors


def test_one_output_is_the_score():
    images = torch.rand(3, 1, 4, 4)
    torch.testing.assert_close(ClassifierScore(Outputs(1))(images), images.mean(dim=(1, 2, 3)))
    flat = torch.nn.Sequential(Outputs(1), torch.nn.Flatten(0))
    torch.testing.assert_close(ClassifierScore(flat)(images), images.mean(dim=(1, 2, 3)))


def test_score_of_a_class_is_the_log_of_its_odds():
    images = torch.rand(3, 1, 4, 4)
    probability = Outputs(3)(images).softmax(dim=1)[:, 2]
    expected = (probability / (1 - probability)).log()
    torch.testing.assert_close(ClassifierScore(Outputs(3), 2, softmax=True)(images), expected)


def test_images_are_brought_to_its_range():
    images = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1)
    assert ClassifierScore(Outputs(1), value_range=(0, 255))(images).tolist() == [0, 127.5, 255]


@pytest.mark.parametrize(("count", "index", "softmax"), [(2, 2, False), (1, 0, True), (2, -1, False)])
def test_an_output_that_is_not_there_is_refused(count, index, softmax):
    with pytest.raises(ValueError, match=f"{count} outputs"):
        ClassifierScore(Outputs(count), index, softmax)(torch.zeros(1, 1, 2, 2))


def test_probabilities_become_log_odds():
    images = torch.rand(3, 1, 4, 4)
    network = torch.nn.Sequential(Outputs(3), torch.nn.Softmax(dim=1))
    expected = ClassifierScore(Outputs(3), 2, softmax=True)(images)
    torch.testing.assert_close(ClassifierScore(network, 2, outputs="probabilities")(images), expected)
    with pytest.raises(ValueError, match="no probabilities"):
        ClassifierScore(Outputs(3), 2, outputs="probabilities")(images + 1)
    with pytest.raises(ValueError, match="logits or probabilities"):
        ClassifierScore(network, outputs="percent")


def test_probabilities_are_not_taken_for_logits():
    images = torch.rand(3, 1, 4, 4)
    score = ClassifierScore(torch.nn.Sequential(Outputs(1), torch.nn.Sigmoid()))
    score(images)
    with pytest.raises(ValueError, match="classifier_outputs"):
        score.check_outputs()
    said, logits = ClassifierScore(Outputs(1), outputs="logits"), ClassifierScore(Outputs(1))
    said(images)
    said.check_outputs()
    logits(images - 5)
    logits.check_outputs()
