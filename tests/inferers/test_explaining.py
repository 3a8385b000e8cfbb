# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_diffae.inferers import DiffusionAutoencoderInferer, ExplanationInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections


def brightness(images: torch.Tensor) -> torch.Tensor:
    return 20 * (images.flatten(1).mean(dim=1) - 0.05)


@pytest.fixture
def loops() -> DiffusionAutoencoderInferer:
    return DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), 3, verbose=False)


@pytest.fixture
def images(device) -> torch.Tensor:
    levels = torch.linspace(-0.5, 0.6, 12).reshape(12, 1, 1, 1)
    noise = 0.1 * torch.randn(12, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return (levels + noise).to(device)


@pytest.fixture
def attributes(tiny_autoencoder, loops, images) -> AttributeDirections:
    z_sem = loops.encode(images, tiny_autoencoder).cpu()
    return AttributeDirections.fit(z_sem, {"classifier": brightness(images).cpu()}, kinds={"classifier": "continuous"})


def test_scores_are_the_classifiers_own_of_the_images(tiny_autoencoder, loops, images, attributes):
    inferer = ExplanationInferer(loops, attributes, "classifier", brightness, num_steps=3, max_aims=4)
    result = inferer.predict(images, tiny_autoencoder)
    assert result["edit"].shape == (12, 3, 1, 16, 16)
    for k in range(3):
        torch.testing.assert_close(result["score_after"][:, k], brightness(result["edit"][:, k]))
    torch.testing.assert_close(result["score"], brightness(images))
    torch.testing.assert_close(result["score_reconstruction"], brightness(result["reconstruction"]))
    # Steps are equal parts of one way.
    torch.testing.assert_close(result["distance"][:, 0] * 3, result["distance"][:, 2])
    assert torch.equal(result["flipped"], (result["score_after"][:, -1] > 0) != (result["score_reconstruction"] > 0))


class Levels(torch.nn.Module):
    """An autoencoder whose decoded images have the level that the code says."""

    def __init__(self, scheduler: InvertibleDDIMScheduler) -> None:
        super().__init__()
        self.scheduler = scheduler

    def encode(self, x):
        level = x.flatten(1).mean(dim=1, keepdim=True)
        return torch.cat([level, level.square()], dim=1)

    def forward(self, x, timesteps, context):
        # The prediction of noise for which x_0 is the level.
        alpha_bar = self.scheduler.alphas_cumprod[timesteps.long()].to(x).reshape(-1, 1, 1, 1)
        return (x - alpha_bar.sqrt() * context[:, :1, None, None]) / (1 - alpha_bar).sqrt()


@pytest.mark.parametrize(("confidence", "margin"), [(1, 1.0), (1, 3.0), (50, 1.0)])
def test_it_goes_until_the_classifier_changes_its_mind(loops, images, confidence, margin):
    """How far to go is known, and the linear model is wrong: nearer and it says the same, further is no need."""

    def score(x: torch.Tensor) -> torch.Tensor:
        return confidence * brightness(x)

    network = Levels(loops.scheduler)
    seen = {"classifier": 0.4 * score(images).cpu()}
    wrong = AttributeDirections.fit(network.encode(images).cpu(), seen, kinds={"classifier": "continuous"})
    for aims, reached in ((1, False), (8, True)):
        inferer = ExplanationInferer(loops, wrong, "classifier", score, num_steps=1, max_aims=aims, margin=margin)
        result = inferer.predict(images, network)
        start, end = result["score_reconstruction"], result["score_after"][:, 0]
        target = torch.where(start > 0, -margin, margin)
        assert bool(((end - target).abs() <= 0.5 * margin + 1e-3).all()) == reached
    assert result["flipped"].all()


def test_arguments_that_make_no_sense_are_refused(loops, attributes):
    for change in ({"num_steps": 0}, {"max_aims": 0}, {"margin": 0.0}):
        with pytest.raises(ValueError, match="margin above 0"):
            ExplanationInferer(loops, attributes, "classifier", brightness, **change)
    with pytest.raises(ValueError, match="along"):
        ExplanationInferer(loops, attributes, "classifier", brightness, along="nowhere")


def test_a_classifier_of_another_shape_is_refused(tiny_autoencoder, loops, images, attributes):
    inferer = ExplanationInferer(loops, attributes, "classifier", lambda x: x.flatten(1))
    with pytest.raises(ValueError, match="must give 12 scores"):
        inferer.predict(images, tiny_autoencoder)
