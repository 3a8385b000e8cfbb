# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_diffae.support.batch_size import find_batch_size

PLENTY = 2**40


def test_a_given_number_is_taken():
    assert find_batch_size(7, (1, 64, 64), "cpu", free_memory=0) == 7


@pytest.mark.parametrize("word", ["auto", None])
def test_a_cpu_gets_as_many_pixels_as_gain_anything(word):
    assert find_batch_size(word, (1, 64, 64), "cpu", PLENTY) == 16
    assert find_batch_size(word, (3, 32, 32), "cpu", PLENTY) == 64
    assert find_batch_size(word, (1, 512, 512), "cpu", PLENTY) == 1


def test_little_memory_makes_smaller_batches_and_one_at_least():
    sizes = [find_batch_size("auto", (3, 64, 64), "cpu", free) for free in (0, 2**29, 2**30, PLENTY)]
    assert sizes[0] == 1
    assert sizes == sorted(sizes)
    assert 1 < sizes[2] < 16


def test_what_the_system_has_is_used_where_nothing_is_said():
    assert 1 <= find_batch_size("auto", (1, 64, 64), "cpu") <= 16


def test_a_gpu_starts_with_many_since_they_are_halved_until_they_fit():
    assert find_batch_size("auto", (1, 64, 64), "cuda:1") == 1024
    assert find_batch_size("auto", (3, 256, 256), "cuda") == 64
    assert find_batch_size("auto", (1, 256, 256, 256), "cuda") == 1


@pytest.mark.parametrize("wrong", ["many", 0, 2.5])
def test_anything_else_is_refused(wrong):
    with pytest.raises(ValueError, match="auto"):
        find_batch_size(wrong, (1, 64, 64), "cpu")
