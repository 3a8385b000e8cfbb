# SPDX-License-Identifier: Apache-2.0
"""What compare_monai_tutorial.py measures of a method: reconstruction, linear probe, samples at several step counts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compared_methods import Method
from monai.inferers import DiffusionInferer
from recipe_study import probe
from study_images import Images

from monai_diffae.inferers import LatentSampler
from monai_diffae.inferers.stochastic_code import StochasticCode
from monai_diffae.metrics import (
    ImageClassifier,
    ImageQuality,
    PixelComponents,
    frechet_distance,
    train_image_classifier,
)
from monai_diffae.networks import LatentDenoiser
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import LatentStatistics
from monai_diffae.support.atomic_files import replacing
from monai_diffae.training import LatentBatches

Row = dict[str, Any]
LATENT_BATCH = 128
LATENT_STEPS = 100


def row(measure: str, value: float, steps: int | str = "") -> Row:
    return {"measure": measure, "steps": steps, "value": f"{value:.5g}"}


@torch.no_grad()
def reconstruction(method: Method, network: torch.nn.Module, images: torch.Tensor, steps: int, **how: Any) -> list[Row]:
    """PSNR and SSIM with a random x_T, and with an exact one of the first ``num_exact`` images (in float32)."""
    rows, seen = [], method.seen(images)
    loops = method.loops(steps, how["precision"])
    x_T = torch.randn(seen.shape, generator=torch.Generator().manual_seed(0))
    decoded = method.shown(loops.decode(loops.encode(seen, network), x_T, network))
    quality = ImageQuality(images.shape[1:])
    for name in ("psnr", "ssim"):
        rows.append(row(f"{name}, random x_T", quality(decoded, images)[name].mean().item(), steps))
    some = images[: how["num_exact"]]
    loops = method.loops(steps, "float32", exact=True)
    z_sem = loops.encode(method.seen(some), network)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The inversion of")  # the share of these is a row
        found = loops.invert_with_report(method.seen(some), network, z_sem)
    decoded = loops.decode(z_sem, found.x_T, network)
    missed = (decoded - method.seen(some)).square().flatten(1).mean(dim=1).sqrt()
    decoded = method.shown(decoded)
    for name in ("psnr", "ssim"):
        rows.append(row(f"{name}, exact x_T", quality(decoded, some)[name].mean().item(), steps))
    rows.append(row("evaluations for exact x_T", found.evaluations.float().mean().item(), steps))
    rows.append(row("share of images within the tolerance", (missed <= loops.tolerance).float().mean().item(), steps))
    return rows


def linear_probe(method: Method, network: torch.nn.Module, images: Images, precision: str) -> list[Row]:
    """Accuracy of the six classes from z_sem, of the labels of all training images that are read and of 1 %."""
    seen = Images(
        method.seen(images.train), images.train_labels, method.seen(images.val), images.val_labels, images.few
    )
    scores = probe(network, seen, precision)
    return [
        row("accuracy of a linear probe, all labels", scores["probe_all"]),
        row(f"accuracy of a linear probe, {images.few} labels", scores["probe_few"]),
    ]


class Spaces:
    """The two spaces in which samples are compared with validation images: features of a classifier of the six classes
    that has seen the training images, and principal components of the pixels."""

    def __init__(self, images: Images, count: int, iterations: int, folder: Path) -> None:
        self.real = images.val[:count]
        labels = {f"is_{k}": (images.train_labels == k).astype(float) for k in np.unique(images.train_labels)}
        path = folder / f"classifier_{len(images.train)}_{iterations}.pt"
        if path.exists():
            classifier = ImageClassifier(images.train.shape[1:], list(labels), ["binary"] * len(labels)).eval()
            classifier.load_state_dict(torch.load(path, weights_only=True))
        else:
            classifier = train_image_classifier(images.train, labels, num_iterations=iterations, progress=False)
            with replacing(path) as partial:
                torch.save(classifier.state_dict(), partial)
        components = PixelComponents(images.train[:5000], 64)

        @torch.no_grad()
        def features(x: torch.Tensor) -> torch.Tensor:
            return torch.cat([classifier.features(part) for part in x.split(128)])

        self.encoders: Mapping[str, Callable] = {"classifier's features": features, "pixels": components.encode}

    def distances(self, of: str, images: torch.Tensor, steps: int | str = "") -> list[Row]:
        return [
            row(f"Frechet distance of {of}, {name}", frechet_distance(encode(images), encode(self.real)), steps)
            for name, encode in self.encoders.items()
        ]


def train_latents(z_sem: torch.Tensor, num_samples: int, seed: int) -> LatentSampler:
    """The latent diffusion of the bundles (L1, constant betas), on ``num_samples`` codes."""
    torch.manual_seed(seed)
    statistics = LatentStatistics.fit(z_sem)
    network = LatentDenoiser(z_dim=z_sem.shape[1], hidden_dim=512, num_layers=6)
    scheduler = InvertibleDDIMScheduler(schedule="constant_beta", beta=0.008)
    batches = LatentBatches(statistics.normalize(z_sem), LATENT_BATCH, scheduler.num_train_timesteps, seed)
    iterations = max(1, num_samples // LATENT_BATCH)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)  # in place of a moving average
    inferer = DiffusionInferer(scheduler)
    for _, batch in zip(range(iterations), batches):
        prediction = inferer(batch["image"], network, batch["noise"], batch["timesteps"])
        loss = torch.nn.functional.l1_loss(prediction, batch["noise"])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return LatentSampler(network.eval(), scheduler, statistics, LATENT_STEPS, seed)


def distances(
    method: Method, network: torch.nn.Module, images: Images, spaces: Spaces, step_counts: list[int], **how: Any
) -> list[Row]:
    """Frechet distances to validation images at several numbers of steps, all from the same x_T: of reconstructions of
    these very images from random x_T, which is what decoding adds; and, with ``latent_samples``, of samples whose z_sem
    is drawn by a latent diffusion that sees so many codes (of ``unconditional`` there is no z_sem to draw)."""
    count = len(spaces.real)
    x_T = StochasticCode("random", how["seed"]).draw_all(spaces.real, range(count))
    loops = method.loops(step_counts[0], how["precision"])
    seen = method.seen(spaces.real)
    of_real = loops.encode(seen, network)
    if method.name == "unconditional":
        codes = {"samples": of_real}  # zeros
    else:
        codes = {"reconstructions, random x_T": of_real}
        if "latent_samples" in how:
            z_sem = loops.encode(method.seen(images.train), network)
            codes["samples"] = train_latents(z_sem, how["latent_samples"], how["seed"])(range(count))["z_sem"]
    rows = []
    for steps in step_counts:
        loops = method.loops(steps, how["precision"])
        for of, z_sem in codes.items():
            decoded = method.shown(loops.decode(z_sem, x_T, network))
            rows += spaces.distances(of, decoded.clamp(-1, 1), steps)
    return rows
