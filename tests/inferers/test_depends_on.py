# SPDX-License-Identifier: Apache-2.0
"""What results depend on: every argument of every inferer, but for those that are known to change nothing."""

from __future__ import annotations

import inspect

import pytest
import torch
from monai.inferers import SlidingWindowInferer

from monai_diffae import inferers
from monai_diffae.networks import LatentDenoiser
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections, Edit, LatentStatistics
from monai_diffae.support.fingerprints import fingerprint

STATISTICS = LatentStatistics(torch.zeros(8), torch.ones(8))
DIRECTIONS = AttributeDirections(["age", "lesion"], torch.eye(8)[:2], torch.zeros(2), STATISTICS)


def latent_sampler(**changes) -> inferers.LatentSampler:
    torch.manual_seed(0)
    network = LatentDenoiser(z_dim=8, hidden_dim=8, num_layers=2)
    arguments = {"network": network, "scheduler": InvertibleDDIMScheduler(), "statistics": STATISTICS}
    return inferers.LatentSampler(**arguments | changes)


def loops(**changes) -> inferers.DiffusionAutoencoderInferer:
    return inferers.DiffusionAutoencoderInferer(
        **{"scheduler": InvertibleDDIMScheduler(), "num_inference_steps": 4, "verbose": False} | changes
    )


OTHER_LOOPS = loops(precision="float16")
RECONSTRUCTION = inferers.ReconstructionInferer(loops())
WINDOWS = SlidingWindowInferer((8, 8))


def edit(**changes) -> inferers.ManipulationInferer:
    arguments = {"inferer": loops(), "attributes": DIRECTIONS}
    arguments |= {name: changes.pop(name) for name in (*arguments, "x_T", "seed") if name in changes}
    what = {"attribute": "age"} | ({} if "target" in changes else {"amount": 0.5}) | changes
    return inferers.ManipulationInferer(edit=Edit(**what), **arguments)


# Every inferer that is remembered, with arguments; a change of each; and those that change nothing.
CHANGES = [
    (
        inferers.DiffusionAutoencoderInferer,
        {"scheduler": InvertibleDDIMScheduler(), "num_inference_steps": 4},
        {
            "scheduler": InvertibleDDIMScheduler(prediction_type="v_prediction"),
            "num_inference_steps": 5,
            "num_inversion_steps": 8,
            "inversion": "exact",
            "precision": "bfloat16",
            "tolerance": 1e-2,
            "max_evaluations": 99,
        },
        {"verbose", "batch_size"},
    ),
    (inferers.ReconstructionInferer, {"inferer": loops()}, {"inferer": OTHER_LOOPS, "x_T": "zeros", "seed": 1}, set()),
    (
        edit,
        {},
        {
            "inferer": OTHER_LOOPS,
            "attributes": AttributeDirections(["age", "lesion"], torch.eye(8)[2:4], torch.zeros(2), STATISTICS),
            "attribute": "lesion",
            "amount": 0.6,
            "target": 1.0,
            "keep": "lesion",
            "num_steps": 2,
            "x_T": "zeros",
            "seed": 1,
            "max_aims": 1,
        },
        set(),
    ),
    (
        inferers.InterpolationInferer,
        {"inferer": loops()},
        {"inferer": OTHER_LOOPS, "num_points": 4, "x_T": "zeros", "seed": 1},
        set(),
    ),
    (inferers.SwapInferer, {"inferer": loops()}, {"inferer": OTHER_LOOPS}, set()),
    (inferers.VariationInferer, {"inferer": loops()}, {"inferer": OTHER_LOOPS, "num_variations": 4, "seed": 1}, set()),
    (
        inferers.LatentSampler,
        {
            "network": LatentDenoiser(z_dim=8, hidden_dim=8, num_layers=2),
            "scheduler": InvertibleDDIMScheduler(),
            "statistics": STATISTICS,
        },
        {
            "network": LatentDenoiser(z_dim=8, hidden_dim=16, num_layers=2),
            "scheduler": InvertibleDDIMScheduler(schedule="constant_beta"),
            "statistics": LatentStatistics(torch.ones(8), torch.ones(8)),
            "num_inference_steps": 5,
            "seed": 1,
            "precision": "bfloat16",
        },
        set(),
    ),
    (
        inferers.ConditionalLatentSampler,
        {"sampler": latent_sampler(), "attributes": DIRECTIONS, "attribute": "age"},
        {"sampler": latent_sampler(seed=1), "attribute": "lesion", "max_tries": 5, "prior": 0.1},
        {"attributes"},
    ),
    (
        inferers.SamplingInferer,
        {"inferer": loops(), "latent_sampler": latent_sampler(), "image_shape": (1, 8, 8)},
        {
            "inferer": OTHER_LOOPS,
            "latent_sampler": latent_sampler(seed=1),
            "image_shape": (3, 8, 8),
            "x_T": "zeros",
            "seed": 1,
        },
        set(),
    ),
    (
        inferers.SlicewiseInferer,
        {"inferer": RECONSTRUCTION},
        {"inferer": inferers.SwapInferer(loops())},
        {"batch_size"},
    ),
    (
        inferers.WindowedInferer,
        {"inferer": RECONSTRUCTION, "windows": WINDOWS},
        {"inferer": inferers.SwapInferer(loops()), "windows": SlidingWindowInferer((8, 8), overlap=0.5)},
        set(),
    ),
]


@pytest.mark.filterwarnings("ignore:A tolerance of .* cannot be reached:UserWarning")
@pytest.mark.parametrize(("make", "arguments", "changes", "others"), CHANGES, ids=lambda x: getattr(x, "__name__", ""))
def test_each_argument_of_each_inferer_counts(make, arguments, changes, others):
    first = fingerprint(make(**arguments))
    assert fingerprint(make(**arguments)) == first
    for name, value in changes.items():
        assert fingerprint(make(**arguments | {name: value})) != first, name
    if inspect.isclass(make):
        assert set(inspect.signature(make).parameters) == set(changes) | others
