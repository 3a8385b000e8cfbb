# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_diffae.inferers import DiffusionAutoencoderInferer, InterpolationInferer, VariationInferer
from monai_diffae.inferers.batching import Batches
from monai_diffae.schedulers import InvertibleDDIMScheduler


class Memory:
    """A function of a batch for which there is memory for ``most`` items."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sizes: list[int] = []

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("there is no more")
        return x + y


X, Y = torch.arange(11.0), 100 * torch.arange(11.0)


@pytest.mark.parametrize(("size", "sizes"), [(None, [11]), (4, [4, 4, 3]), (20, [11])])
def test_a_batch_is_cut_into_parts_of_the_size(size, sizes):
    function = Memory(100)
    assert torch.equal(torch.cat(Batches(size)(function, X, Y)), X + Y)
    assert function.sizes == sizes


def test_parts_that_do_not_fit_are_halved_and_the_size_that_fits_is_kept(caplog):
    function, batches = Memory(3), Batches(8)
    assert torch.equal(torch.cat(batches(function, X, Y)), X + Y)
    assert function.sizes == [8, 4, 2, 2, 2, 2, 2, 1]
    assert "do not fit into memory" in caplog.text
    function.sizes.clear()
    assert torch.equal(torch.cat(batches(function, X, Y)), X + Y)
    assert max(function.sizes) == 2


def test_a_single_item_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        Batches()(Memory(0), X, Y)


def test_other_errors_are_not_taken_for_it():
    with pytest.raises(TypeError):
        Batches(4)(lambda x: x, X, Y)


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size"):
        Batches(0)


@pytest.fixture
def images(device) -> torch.Tensor:
    return torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1)).to(device) * 2 - 1


def loops(batch_size: int | None) -> DiffusionAutoencoderInferer:
    scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
    return DiffusionAutoencoderInferer(scheduler, num_inference_steps=2, verbose=False, batch_size=batch_size)


@pytest.mark.parametrize("inversion", ["explicit", "exact"])
def test_results_do_not_depend_on_the_batch_size(tiny_autoencoder, images, inversion):
    results = []
    for batch_size in (None, 2):
        inferer = loops(batch_size)
        inferer.inversion = inversion
        z_sem = inferer.encode(images, tiny_autoencoder)
        code = inferer.invert_with_report(images, tiny_autoencoder, z_sem)
        results.append((z_sem, code.x_T, inferer.decode(z_sem, code.x_T, tiny_autoencoder)))
        assert code.evaluations.shape == code.residual.shape == (3,)
    for whole, parts in zip(*results):
        torch.testing.assert_close(whole, parts, rtol=0, atol=1e-4)


def test_images_of_a_series_share_batches(tiny_autoencoder, images):
    sizes = []
    tiny_autoencoder.decoder.register_forward_hook(lambda _, arguments, __: sizes.append(len(arguments[0])))
    VariationInferer(loops(6), num_variations=4)(images, tiny_autoencoder)
    assert sizes == [6] * 4  # twice 6 of 12 images, in 2 steps
    sizes.clear()
    InterpolationInferer(loops(None), num_points=5)(images, tiny_autoencoder, images.flip(0))
    assert sizes == [6, 6, 15, 15]  # both ends to x_T, then all points


def test_the_network_sees_less_than_does_not_fit(tiny_autoencoder, images):
    def limited(_, arguments: tuple) -> None:
        if len(arguments[0]) > 2:
            raise torch.OutOfMemoryError("there is no more")

    expected = loops(None).encode(images, tiny_autoencoder)
    tiny_autoencoder.encoder.register_forward_pre_hook(limited)
    inferer = loops(None)
    torch.testing.assert_close(inferer.encode(images, tiny_autoencoder), expected, rtol=0, atol=1e-5)
    assert inferer.batches.size == 1
