# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_diffae.support.groups import group_numbers


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([{"subject": "b"}, {"subject": "a"}, {"subject": "b"}], [0, 1, 0]),
        ([{"subject": "b", "volume": 0}, {"subject": "b", "volume": 1}, {"subject": "c", "volume": 2}], [0, 0, 1]),
        ([{"volume": 3}, {"volume": 3}, {"volume": torch.tensor(1)}], [0, 0, 1]),
        ([{"image": "a"}, {"image": "b"}], [0, 1]),
        ([{"subject": ""}, {"subject": None}, {"subject": "1", "volume": 7}, {"volume": 1}], [0, 1, 2, 3]),
        ([], []),
    ],
)
def test_items_belong_to_their_subject_else_their_volume_else_nobody(items, expected):
    assert group_numbers(items).tolist() == expected
