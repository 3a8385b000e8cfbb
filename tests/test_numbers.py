# SPDX-License-Identifier: Apache-2.0
"""How far numbers of the shipped weights may move with precision, batch size and threads (docs/reliability.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from monai.bundle import ConfigParser

from monai_diffae.checkpoints import load_weights
from monai_diffae.datasets import load_digits_arrays
from monai_diffae.inferers import DiffusionAutoencoderInferer

BUNDLES = Path(__file__).parents[1] / "bundles"
TOLERANCES = {"bfloat16": (0.01, 50.0), "float16": (0.002, 65.0)}  # of z_sem, relative; of images, dB
ROUNDING = 1e-4  # of images in [-1, 1], and of z_sem relative to it: the order of sums in float32
STEPS = 3


@pytest.fixture(scope="module", params=["natural_images_diffae", "brain_slices_diffae"])
def shipped(request, generated_brains) -> SimpleNamespace:
    """Network, scheduler and 16 images of a bundle."""
    config = ConfigParser(ConfigParser.load_config_file(str(BUNDLES / request.param / "configs" / "inference.yaml")))
    config["bundle_root"], config["dataset_dir"] = str(BUNDLES / request.param), str(generated_brains)
    config["num_slices"] = 6  # of each of three subjects
    network = load_weights(config.get_parsed_content("network_def"), BUNDLES / request.param / "models" / "model.pt")
    if request.param.startswith("natural"):
        images = load_digits_arrays("test")[0][:16]
    else:
        dataset = config.get_parsed_content("dataset")
        images = torch.stack([dataset[k]["image"].as_tensor() for k in range(16)])
    return SimpleNamespace(
        network=network.eval(), images=images, scheduler=config.get_parsed_content("scheduler"), kept={}
    )


def round_trip(shipped, batch_size: int = 16, precision: str = "float32") -> tuple[torch.Tensor, torch.Tensor]:
    """z_sem, and images decoded from it and a noise that is always the same, in batches."""
    inferer = DiffusionAutoencoderInferer(shipped.scheduler, STEPS, precision=precision, verbose=False)
    noise = torch.randn(shipped.images.shape, generator=torch.Generator().manual_seed(0))
    codes, decoded = [], []
    with torch.no_grad():
        for images, x_T in zip(shipped.images.split(batch_size), noise.split(batch_size)):
            codes.append(inferer.encode(images, shipped.network))
            decoded.append(inferer.decode(codes[-1], x_T, shipped.network))
    return torch.cat(codes).float(), torch.cat(decoded).float()


def reference(shipped) -> tuple[torch.Tensor, torch.Tensor]:
    if not shipped.kept:
        shipped.kept["float32"] = round_trip(shipped)
    return shipped.kept["float32"]


@pytest.fixture
def deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def test_the_same_call_gives_the_same_bits(shipped, deterministic):
    assert all(map(torch.equal, round_trip(shipped), reference(shipped)))


@pytest.mark.parametrize("precision", TOLERANCES)
def test_half_precision_stays_near_float32(shipped, precision):
    one = SimpleNamespace(**vars(shipped) | {"images": shipped.images[:1]})  # a processor is slow at float16
    codes, images = round_trip(one, precision=precision)
    exact_codes, exact_images = round_trip(one)
    most, least = TOLERANCES[precision]
    assert 0 < (codes - exact_codes).norm() / exact_codes.norm() < most
    assert 10 * torch.log10(4 / (images - exact_images).square().mean()) > least


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (16, 2)])
def test_batches_and_threads_change_no_more_than_the_order_of_sums(shipped, batch_size, threads):
    expected, before = reference(shipped), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        codes, images = round_trip(shipped, batch_size)
    finally:
        torch.set_num_threads(before)
    assert (codes - expected[0]).abs().max() < ROUNDING * expected[0].abs().max()
    assert (images - expected[1]).abs().max() < ROUNDING
