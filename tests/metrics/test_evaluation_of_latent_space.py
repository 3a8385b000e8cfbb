# SPDX-License-Identifier: Apache-2.0
"""All sections on a network whose diffusion works on latents, of pictures and of volumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import LATENT_SPACE_SHAPES, tiny_latent_space_autoencoder

from monai_diffae.inferers import DiffusionAutoencoderInferer, LatentSampler
from monai_diffae.metrics.evaluation import (
    EditingSection,
    EvaluationBench,
    Findings,
    GenerationSection,
    Judge,
    Part,
    ReconstructionSection,
    RepresentationSection,
)
from monai_diffae.networks import LatentDenoiser
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections, LatentStatistics


def boxes(count: int, seed: int, shape: tuple[int, ...]) -> list[dict]:
    """A box of some brightness, one image a subject."""
    random, items = np.random.default_rng(seed), []
    for k in range(count):
        bright = float(k % 2)
        image = torch.from_numpy(0.05 * random.normal(size=(1, *shape))).float() - 0.9
        image[(0, *(slice(2, 6),) * len(shape))] = 0.8 if bright else -0.2
        items.append({"image": image, "bright": bright, "subject": f"s{k}"})
    return items


@pytest.fixture(params=[(2, "image"), (2, "latent"), (3, "image")], ids=["pictures", "encoder of latents", "volumes"])
def bench(request, tmp_path, device) -> EvaluationBench:
    dims, encoder_input = request.param
    network = tiny_latent_space_autoencoder(dims, encoder_input).to(device)
    scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
    inferer = DiffusionAutoencoderInferer(scheduler, 4, inversion="exact", tolerance=1e-4, verbose=False)
    parts = [Part(boxes(*of, LATENT_SPACE_SHAPES[dims]), ["bright"], progress=False) for of in ((12, 0), (16, 1))]
    return EvaluationBench(network, inferer, *parts, tmp_path / "resume", batch_size=5, device=device, progress=False)


def of_measure(found: Findings, measure: str) -> dict[str, float]:
    return {m.of: m.value for m in found.measures if m.measure == measure}


def test_the_error_of_compression_stands_apart(bench):
    found = ReconstructionSection(bench, (4,), ("exact", "explicit", "random")).measure()
    psnr = of_measure(found, "psnr")
    images = bench.chosen["image"].to(bench.device)
    with torch.no_grad():
        error = (bench.network.stage_1.reconstruct(images) - images).square().flatten(1).mean(dim=1)
    expected = (10 * torch.log10(4 / error)).mean().item()
    assert psnr["its compression alone"] == pytest.approx(expected, abs=1e-2)
    assert psnr["x_T exact, 4 steps"] == pytest.approx(expected, abs=0.1)
    assert "compression" in found.galleries[0].titles


def test_every_section_measures(bench):
    features, labels, _ = bench.train.features({"z_sem": bench.encode}, 8)
    directions = AttributeDirections.fit(
        torch.from_numpy(features["z_sem"]).float(), {k: torch.from_numpy(v) for k, v in labels.items()}
    )
    judge = Judge(bench, num_iterations=20)
    found = RepresentationSection(bench, shares=(1.0,), num_draws=5).measure()
    assert {"auroc", "semantic gap"} <= {m.measure for m in found.measures}
    assert "bright, untrained encoder" in of_measure(found, "auroc")
    edits = EditingSection(bench, lambda: directions, judge, (-1.0, 1.0), num_images=4).measure()
    assert "response: monotonic" in {m.measure for m in edits.measures}
    sampler = LatentSampler(
        LatentDenoiser(z_dim=8, hidden_dim=16, num_layers=3).eval(),
        InvertibleDDIMScheduler(schedule="constant_beta"),
        LatentStatistics(torch.zeros(8), torch.ones(8)),
        4,
    )
    samples = GenerationSection(bench, lambda: sampler, judge, num_samples=8).measure()
    assert "Frechet distance" in {m.measure for m in samples.measures}
