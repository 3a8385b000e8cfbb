# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from monai_diffae.metrics import monotonic_response


def test_response_is_that_of_the_ranks():
    values = np.array([[1.0, 2.0, 4.0], [3.0, 2.0, 1.0], [5.0, 5.0, 5.0], [1.0, 3.0, 2.0]])
    measured = monotonic_response([-1, 0, 1], values)
    assert measured == pytest.approx({"rank_correlation": (1 - 1 + 0 + 0.5) / 4, "monotonic": 0.25})


def test_order_of_the_strengths_does_not_matter():
    assert monotonic_response([1, -1, 0], np.array([[3.0, 1.0, 2.0]]))["monotonic"] == 1


def test_one_strength_is_refused():
    with pytest.raises(ValueError, match="strengths"):
        monotonic_response([1.0, 1.0], np.zeros((3, 2)))
