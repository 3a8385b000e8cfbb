# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from monai_diffae.support.checked_numbers import count, factors, share


@pytest.mark.parametrize("number", [1, 7, 10**9])
def test_counts_pass(number):
    assert count(steps=number) == number


@pytest.mark.parametrize("number", [0, -1, 1.0, 1.5, True, "3", None, math.nan])
def test_other_counts_are_refused_by_their_name(number):
    with pytest.raises(ValueError, match=rf"^steps must be a whole number of 1 or more, got {number!r}\.$"):
        count(steps=number)


@pytest.mark.parametrize("number", [0, 0.5, 1, 1.0])
def test_shares_pass(number):
    assert share(prob=number) == number


@pytest.mark.parametrize("number", [-0.1, 1.1, 2, math.nan, math.inf, "0.5", None, True])
def test_other_shares_are_refused_by_their_name(number):
    with pytest.raises(ValueError, match=rf"^prob must lie in \[0, 1\], got {number!r}\.$"):
        share(prob=number)


@pytest.mark.parametrize("numbers", [[0.85, 1.15], (1, 1), [0.5, 2]])
def test_factors_pass(numbers):
    assert factors(zoom=numbers) == tuple(numbers)


@pytest.mark.parametrize("numbers", [1.1, [1.1], [0.9, 1, 1.1], [1.1, 0.9], [0, 1], [-1, 1], [1, math.inf], "ab", None])
def test_other_factors_are_refused_by_their_name(numbers):
    with pytest.raises(ValueError, match=r"^zoom must be two numbers above 0, the lower one first, .*; got "):
        factors(zoom=numbers)
