# SPDX-License-Identifier: Apache-2.0
import itertools
import random

import numpy as np
import pytest
import torch

from monai_diffae.support.randomness import derive_seed, seeded


@pytest.mark.parametrize(
    ("keys", "seed"),
    [((0,), 2968811710), ((0, 1, 2), 3884055042), ((2, 1, 0), 307626447), ((7, 3, 11), 3011630493)],
)
def test_seed_is_the_same_on_every_machine_and_in_every_process(keys, seed):
    assert derive_seed(*keys) == seed


def test_global_random_state_is_neither_read_nor_written():
    states = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        random.seed(seed)
        before = np.random.get_state()[1].copy(), torch.get_rng_state(), random.getstate()  # noqa: NPY002
        states.append(derive_seed(3, 4))
        after = np.random.get_state()[1], torch.get_rng_state(), random.getstate()  # noqa: NPY002
        assert np.array_equal(before[0], after[0])
        assert torch.equal(before[1], after[1])
        assert before[2] == after[2]
    assert states[0] == states[1]


def test_order_of_the_keys_counts():
    keys = list(itertools.permutations((1, 2, 3, 4)))
    assert len({derive_seed(*key) for key in keys}) == len(keys)


def test_neighbouring_seeds_epochs_and_indices_get_seeds_of_their_own():
    keys = list(itertools.product(range(5), range(20), range(50)))
    seeds = np.array([derive_seed(*key) for key in keys])
    assert len(set(seeds.tolist())) == len(keys)
    # and these fill the range evenly: a mean 5 standard errors off the middle would be no accident
    assert abs(seeds.mean() / 2**32 - 0.5) < 5 / np.sqrt(12 * len(seeds))


@pytest.mark.parametrize("keys", [(0,), (0, 1, 2), (2**32 - 1, 5), (2**63, 1)])
def test_seed_fits_every_library(keys):
    seed = derive_seed(*keys)
    assert type(seed) is int
    assert 0 <= seed < 2**32
    np.random.RandomState(seed)
    np.random.default_rng(seed)
    torch.Generator().manual_seed(seed)


def test_negative_key_is_an_error():
    with pytest.raises(ValueError, match="non-negative"):
        derive_seed(0, -1)


def test_a_seeded_block_draws_what_its_seed_says_and_leaves_no_trace(device):
    def draw() -> list[torch.Tensor]:
        return [torch.rand(3), torch.nn.Linear(2, 2).weight.detach(), torch.rand(3, device=device).cpu()]

    torch.manual_seed(5)
    expected = [draw(), draw()]
    torch.manual_seed(5)
    before = draw()
    with seeded(9, device):
        first = draw()
    after = draw()
    with seeded(9, device), seeded(9, device):
        second = draw()
    with seeded(10, device):
        third = draw()
    torch.testing.assert_close([before, after], expected, rtol=0, atol=0)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not any(torch.equal(a, b) for a, b in zip(first, third, strict=True))
