# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_diffae.support.spacing import evenly_spaced


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [(10, 4, [0, 3, 6, 9]), (100, 64, None), (3, 5, [0, 1, 2]), (3, None, [0, 1, 2]), (5, 1, [0]), (0, 2, [])],
)
def test_places_are_different_and_reach_both_ends(total, count, expected):
    places = evenly_spaced(total, count)
    assert expected is None or places == expected
    assert len(set(places)) == len(places) == min(total, total if count is None else count)
    if len(places) > 1:
        assert (places[0], places[-1]) == (0, total - 1)
