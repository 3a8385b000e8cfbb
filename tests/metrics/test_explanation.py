# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.metrics.evaluation import ClassifierScore, EvaluationBench, ExplanationSection, Findings, Part
from monai_diffae.networks import DiffAEUNet, DiffusionAutoencoder, SemanticEncoder
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.support.pseudonyms import Pseudonyms

SIDE, MARK = 16, 4
SCHEDULER = InvertibleDDIMScheduler(prediction_type="v_prediction")


def marked_images(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Blobs at random places; images of class 1 bear a bright mark in a corner. Otherwise the classes are alike."""
    generator = torch.Generator().manual_seed(seed)
    centers = 4 + 8 * torch.rand(n, 2, generator=generator)
    grid = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"))
    squared = (grid[None] - centers[:, :, None, None]).square().sum(dim=1, keepdim=True)
    images = 1.2 * torch.exp(-squared / 12) - 0.9
    labels = torch.randint(2, (n,), generator=generator)
    images[:, :, :MARK, :MARK] = torch.where(labels.reshape(n, 1, 1, 1) == 1, 0.9, images[:, :, :MARK, :MARK])
    return images, labels.float()


def section(network, images, score, folder, **options) -> tuple[Findings, EvaluationBench]:
    inferer = DiffusionAutoencoderInferer(SCHEDULER, 5, verbose=False)
    part = Part([{"image": image, "subject": f"p{k // 2}"} for k, image in enumerate(images)], progress=False)
    bench = EvaluationBench(network, inferer, part, None, folder, num_images=8, progress=False)
    return ExplanationSection(bench, score, **options).measure(), bench


class Corner(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 10 * x[:, :, :MARK, :MARK].mean(dim=(1, 2, 3))


def test_what_was_found_is_said(tiny_autoencoder, tmp_path, device):
    images, _ = marked_images(30, 0)
    found, _ = section(tiny_autoencoder.cpu(), images, ClassifierScore(Corner()), tmp_path, num_steps=2, max_aims=2)
    measures = {m.measure for m in found.measures}
    assert {"r2", "share that it says yes to", "flip rate", "distance"} <= measures
    rows = found.tables["explanations"]
    assert len(rows) == 8
    assert {"score", "score_reconstruction", "score_step_1", "score_step_2", "distance", "flipped"} <= set(rows[0])
    rates = {m.of: m.value * m.count for m in found.measures if m.measure == "flip rate"}
    assert sum(rates.values()) == pytest.approx(sum(row["flipped"] for row in rows))
    chosen = [k // 2 for k in np.linspace(0, 29, 8).round().astype(int)]
    assert [row["subject"] for row in rows] == [Pseudonyms(tmp_path)(f"p{subject}") for subject in chosen]
    assert len(found.galleries[0].images[0]) == 5  # original, reconstruction, two steps, difference


def test_a_classifier_without_an_opinion_is_not_explained(tiny_autoencoder, tmp_path):
    class Same(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(x))

    images, _ = marked_images(6, 0)
    found, _ = section(tiny_autoencoder.cpu(), images, ClassifierScore(Same()), tmp_path)
    assert "one score" in found.skipped["the explanation"]


@pytest.mark.slow
def test_the_explanation_of_a_cheating_classifier_shows_the_mark(tmp_path):
    """A diffusion autoencoder and a classifier learn from images of which one class bears a mark; nothing else tells
    the classes. What the counterfactuals change is the mark."""
    torch.manual_seed(0)
    images, labels = marked_images(512, 0)
    common = {"spatial_dims": 2, "in_channels": 1, "z_dim": 16, "channels": (16, 32, 32), "num_res_blocks": 1}
    common |= {"attention_levels": (False, False, False), "norm_num_groups": 4}
    network = DiffusionAutoencoder(SemanticEncoder(**common), DiffAEUNet(**common, out_channels=1))
    inferer = DiffusionAutoencoderInferer(SCHEDULER, 5, verbose=False)
    classifier = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(256, 1),
    )
    optimizer = torch.optim.Adam([*network.parameters(), *classifier.parameters()], 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=500)
    for _ in range(500):
        rows = torch.randint(512, (32,))
        noise, timesteps = torch.randn(32, 1, SIDE, SIDE), torch.randint(1000, (32,))
        velocity = SCHEDULER.get_velocity(images[rows], noise, timesteps)
        loss = mse_loss(inferer(images[rows], network, noise, timesteps), velocity)
        loss = loss + binary_cross_entropy_with_logits(classifier(images[rows])[:, 0], labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    test, truth = marked_images(200, 1)
    with torch.no_grad():
        assert ((classifier.eval()(test)[:, 0] > 0) == truth.bool()).float().mean() > 0.95
    found, _ = section(network.eval(), test, ClassifierScore(classifier), tmp_path, num_steps=2)
    values = {(m.measure, m.of): m.value for m in found.measures}
    assert values["r2", "the classifier's score, linear in z_sem"] > 0.7
    assert values["flip rate", "yes to no"] == 1
    assert values["flip rate", "no to yes"] == 1
    marks, elsewhere, directions = [], [], []
    for row, (*_, difference) in zip(found.tables["explanations"], found.galleries[0].images):
        corner = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        corner[:MARK, :MARK] = True
        marks.append(float(difference[0][corner].abs().mean()))
        elsewhere.append(float(difference[0][~corner].abs().mean()))
        directions.append((float(difference[0][corner].mean()) > 0) == (row["score_reconstruction"] <= 0))
    assert sum(marks) > 4 * sum(elsewhere)  # per pixel
    assert all(directions)  # it appears where the classifier said no, and goes where it said yes
