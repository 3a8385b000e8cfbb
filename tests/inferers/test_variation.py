# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_diffae.inferers import VariationInferer
from monai_diffae.inferers.stochastic_code import StochasticCode


def test_variations_share_z_sem_and_differ_in_x_T(tiny_autoencoder, images, loops):
    result = VariationInferer(loops, num_variations=3, seed=6).predict(images, tiny_autoencoder)
    z_sem = tiny_autoencoder.encode(images)
    torch.testing.assert_close(result["z_sem"], z_sem, rtol=0, atol=0)
    for k in range(3):
        expected = loops.decode(z_sem, StochasticCode("random", seed=6).draw(images, k), tiny_autoencoder)
        torch.testing.assert_close(result["variations"][:, k], expected, rtol=0, atol=1e-5)
    assert (result["variations"][:, 0] - result["variations"][:, 1]).abs().mean() > 0.1
    torch.testing.assert_close(result["variation_std"], result["variations"].std(dim=1, correction=0))
    assert result["variation_std"].min() > 0


def test_variations_are_a_function_of_the_seed_and_not_of_the_batch(tiny_autoencoder, images, loops):
    variations = VariationInferer(loops, num_variations=2, seed=6)(images, tiny_autoencoder)
    torch.manual_seed(99)
    torch.testing.assert_close(VariationInferer(loops, 2, seed=6)(images, tiny_autoencoder), variations, rtol=0, atol=0)
    alone = VariationInferer(loops, 2, seed=6)(images[1:2], tiny_autoencoder)
    torch.testing.assert_close(alone[0], variations[1], rtol=0, atol=1e-5)
    other = VariationInferer(loops, 2, seed=7)(images, tiny_autoencoder)
    assert (other - variations).abs().mean() > 0.1


def test_a_single_variation_has_no_spread(tiny_autoencoder, images, loops):
    assert not VariationInferer(loops, num_variations=1).predict(images, tiny_autoencoder)["variation_std"].any()


def test_variations_refuse_none_at_all(loops):
    with pytest.raises(ValueError, match="num_variations must be 1 or more, got 0"):
        VariationInferer(loops, num_variations=0)
