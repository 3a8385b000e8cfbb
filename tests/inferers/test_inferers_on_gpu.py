# SPDX-License-Identifier: Apache-2.0
"""Every inferer on a pretended GPU: the numbers of the CPU, and no more copies and waits than it needs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.inferers import SlidingWindowInferer
from pretend_gpu import PretendedGPU, on_pretended_gpu

from monai_diffae import inferers
from monai_diffae.networks import LatentDenoiser
from monai_diffae.schedulers import InvertibleDDIMScheduler, MultistepDDIMScheduler
from monai_diffae.semantics import AttributeDirections, Edit, LatentStatistics


def loops(steps: int, **options) -> inferers.DiffusionAutoencoderInferer:
    scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
    return inferers.DiffusionAutoencoderInferer(scheduler, steps, verbose=False, **options)


def directions() -> AttributeDirections:
    random = torch.Generator().manual_seed(4)
    weight, pattern = torch.randn(2, 2, 8, generator=random)
    statistics = LatentStatistics(torch.randn(8, generator=random), torch.rand(8, generator=random) + 0.5)
    return AttributeDirections(["age", "lesion"], weight, torch.tensor([0.5, -1.5]), statistics, pattern=pattern)


def latent_sampler(steps: int) -> inferers.LatentSampler:
    torch.manual_seed(1)
    network = LatentDenoiser(z_dim=8, hidden_dim=16, num_layers=3).eval()
    scheduler = MultistepDDIMScheduler(schedule="constant_beta", beta=0.008)
    return inferers.LatentSampler(network, scheduler, directions().statistics, steps)


def edit(steps: int, **options) -> inferers.ManipulationInferer:
    return inferers.ManipulationInferer(loops(steps), directions(), Edit("lesion", **options))


IMAGES = torch.randn(4, 1, 8, 12, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
OTHERS = {"inputs_to": IMAGES[2:]}
# An inferer of some steps, what else it is called with, and how often a call waits for the GPU and copies to it.
CASES: dict[str, tuple[Callable[[int], Any], dict[str, torch.Tensor], int, int]] = {
    # The timesteps of two loops.
    "reconstruction": (lambda n: inferers.ReconstructionInferer(loops(n)), {}, 0, 2),
    # z_sem comes to the directions, and with it that of the edit; codes go back, and the numbers about the edit.
    "edit": (lambda n: edit(n, amount=0.3, keep="age"), {}, 2, 11),
    "edit in steps": (lambda n: edit(n, target="across", num_steps=3, along="pattern"), {}, 2, 8),
    "interpolation": (lambda n: inferers.InterpolationInferer(loops(n), 3), OTHERS, 0, 2),
    "swap": (lambda n: inferers.SwapInferer(loops(n)), OTHERS, 0, 2),
    "variations": (lambda n: inferers.VariationInferer(loops(n), 3), {}, 0, 2),
    # MONAI's inferer reads a number of its own.
    "windows": (
        lambda n: inferers.WindowedInferer(
            inferers.ReconstructionInferer(loops(n)), SlidingWindowInferer((8, 8), sw_batch_size=4)
        ),
        {},
        1,
        2,
    ),
}


def run(inferer: Any, network: Any, inputs: torch.Tensor, others: dict) -> dict[str, torch.Tensor]:
    result = inferer.predict(inputs, network, **others) if hasattr(inferer, "predict") else inferer(inputs, network)
    return result if isinstance(result, dict) else {"result": result}


def compare(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert value.device.type == "gpu", key
        torch.testing.assert_close(value.held, expected[key], equal_nan=True, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.parametrize("name", CASES)
@on_pretended_gpu
def test_inferers_give_the_numbers_of_the_cpu_and_copy_no_more_with_more_steps(
    gpu: PretendedGPU, tiny_autoencoder, name, steps
):
    make, others, waits, copies_to_gpu = CASES[name]
    inputs = IMAGES[:2]
    expected = run(make(steps), tiny_autoencoder, inputs, others)
    inferer, network, inputs = make(steps), gpu.move(tiny_autoencoder), gpu.move(inputs)
    others = {key: gpu.move(x) for key, x in others.items()}
    with gpu:
        found = run(inferer, network, inputs, others)
    compare(found, expected)
    assert (gpu.waits, gpu.copies_to_gpu) == (waits, copies_to_gpu), gpu.copies


@on_pretended_gpu
def test_exact_inversion_waits_once_a_round_and_sends_one_answer(gpu: PretendedGPU, tiny_autoencoder):
    inferer = loops(5, inversion="exact", tolerance=1e-4)
    z_sem = tiny_autoencoder.encode(IMAGES).detach()
    expected = inferer.invert_with_report(IMAGES, tiny_autoencoder, z_sem)
    network, rounds = gpu.move(tiny_autoencoder), []
    network.decoder.register_forward_hook(lambda module, args, output: rounds.append(len(output)))
    images, z_sem = gpu.move(IMAGES), gpu.move(z_sem)
    with gpu:
        found = inferer.invert_with_report(images, network, z_sem)
    torch.testing.assert_close(found.x_T.held, expected.x_T, rtol=1e-3, atol=1e-3)
    assert 10 < len(rounds) < 60
    assert len(set(rounds)) > 1  # images that are done leave the batch
    assert gpu.waits == len(rounds)
    assert gpu.copies_to_gpu == len(rounds) + 4  # timesteps and the scheduler's levels, and the report


@on_pretended_gpu
def test_aims_wait_once_a_round(gpu: PretendedGPU, tiny_autoencoder):
    counts = []
    for max_aims in (1, 3):
        inferer = inferers.ManipulationInferer(loops(2), directions(), Edit("lesion", 0.5, max_aims=max_aims))
        network, images = gpu.move(tiny_autoencoder), gpu.move(IMAGES)
        gpu.copies.clear()
        with gpu:
            inferer.predict(images, network)
        counts.append(gpu.waits)
    assert counts == [2 + 1 + 1, 2 + 1 + 3]  # the score of the reconstruction comes first


@on_pretended_gpu
def test_edits_leave_the_callers_directions_where_they_are(gpu: PretendedGPU, tiny_autoencoder):
    attributes = directions()
    inferer = inferers.ManipulationInferer(loops(2), attributes, Edit("lesion", 0.3))
    network, images = gpu.move(tiny_autoencoder), gpu.move(IMAGES)
    with gpu:
        inferer.predict(images, network)
    assert {buffer.device.type for buffer in attributes.buffers()} == {"cpu"}
    attributes.scores(torch.zeros(1, 8))
    on_gpu = gpu.move(directions())  # or on the GPU, where the caller put them
    with gpu:
        inferers.ManipulationInferer(loops(2), on_gpu, Edit("lesion", 0.3)).predict(images, network)
    assert {buffer.device.type for buffer in on_gpu.buffers()} == {"gpu"}


@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.parametrize("conditional", [False, True])
@on_pretended_gpu
def test_sampling_waits_for_its_codes_alone(gpu: PretendedGPU, tiny_autoencoder, conditional, steps):
    def sampler() -> Any:
        latents = latent_sampler(steps)
        return inferers.ConditionalLatentSampler(latents, directions(), "lesion", prior=0.9) if conditional else latents

    numbers = torch.tensor([0, 3])
    expected = inferers.SamplingInferer(loops(steps), sampler(), (1, 8, 12)).predict(numbers, tiny_autoencoder)
    inferer = inferers.SamplingInferer(loops(steps), sampler(), (1, 8, 12))
    latents = inferer.latent_sampler.sampler if conditional else inferer.latent_sampler
    gpu.move(latents.network)
    network, numbers = gpu.move(tiny_autoencoder), gpu.move(numbers)
    with gpu:
        found = inferer.predict(numbers, network)
    compare(found, expected)
    assert {buffer.device.type for buffer in latents.statistics.buffers()} == {"cpu"}
    # The numbers of the samples and the codes; of a class also the codes and their probability.
    assert (gpu.waits, gpu.copies_to_gpu) == ((4, 7) if conditional else (2, 5))


@on_pretended_gpu
def test_volumes_slice_by_slice_and_the_semantic_gap(gpu: PretendedGPU, tiny_autoencoder):
    volume = IMAGES.permute(1, 2, 3, 0)[None]
    slicewise = inferers.SlicewiseInferer(inferers.ReconstructionInferer(loops(2)), batch_size=2)
    gap, noise, timesteps = (
        inferers.SemanticGapInferer(loops(2).scheduler),
        IMAGES.flip(0),
        torch.tensor([1, 50, 500, 999]),
    )
    expected = slicewise(volume, tiny_autoencoder), gap(IMAGES, tiny_autoencoder, noise, timesteps)
    network = gpu.move(tiny_autoencoder)
    arguments = [gpu.move(x) for x in (IMAGES, noise, timesteps)]
    volume = gpu.move(volume)
    with gpu:
        found = slicewise(volume, network)
        gpu.copies.clear()
        losses = gap(arguments[0], network, *arguments[1:])
    torch.testing.assert_close(found.held, expected[0], rtol=1e-4, atol=1e-5)
    compare(losses, expected[1])
    assert (gpu.waits, gpu.copies_to_gpu) == (0, 1)  # the scheduler's levels


@on_pretended_gpu
def test_what_was_remembered_comes_back_to_the_gpu(gpu: PretendedGPU, tiny_autoencoder):
    with tempfile.TemporaryDirectory() as folder:
        expected = inferers.InterpolationInferer(loops(2), 3).predict(IMAGES[:2], tiny_autoencoder, [IMAGES[2:]])
        network, first, last = gpu.move(tiny_autoencoder), gpu.move(IMAGES[:2]), gpu.move(IMAGES[2:])
        calls = []
        network.decoder.register_forward_hook(lambda *_: calls.append(1))
        remembering = inferers.RememberingInferer(inferers.InterpolationInferer(loops(2), 3), folder)
        with gpu:
            for _ in range(2):
                found = remembering.predict(first, network, inputs_to=[last])
                compare(found, expected)
        assert len(calls) == 4  # two steps up and two down, once
