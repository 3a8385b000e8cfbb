# SPDX-License-Identifier: Apache-2.0
"""One object says what an edit is. (What becomes of images: tests/inferers/test_manipulation.py.)"""

from __future__ import annotations

import pytest
import torch

from monai_diffae.semantics import AttributeDirections, AttributeSummary, Edit, LatentStatistics
from monai_diffae.support.fingerprints import fingerprint


@pytest.fixture
def attributes() -> AttributeDirections:
    random = torch.Generator().manual_seed(4)
    statistics = LatentStatistics(torch.randn(8, generator=random), torch.rand(8, generator=random) + 0.5)
    means, pattern = torch.randn(2, 2, 8, generator=random), torch.randn(2, 8, generator=random)
    summaries = {"age": AttributeSummary(kind="continuous")}
    weight = torch.randn(2, 8, generator=random)
    return AttributeDirections(["age", "lesion"], weight, torch.zeros(2), statistics, summaries, means, pattern)


Z_SEM = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("edit", "columns", "is_series"),
    [
        (Edit("age", 0.3), [{"attribute": "age", "along": "weight", "amount": 0.3}], False),
        (
            Edit("age", target=[1, "across"], along="pattern"),
            [{"attribute": "age", "along": "pattern", "target": target} for target in (1, "across")],
            True,
        ),
        (
            Edit("age", to_class_mean=1, num_steps=2),
            [{"attribute": "age", "along": "weight", "to_class_mean": 1, "step": step} for step in ("1/2", "2/2")],
            True,
        ),
        (Edit("age", [0.5]), [{"attribute": "age", "along": "weight", "amount": 0.5}], True),
    ],
)
def test_tables_and_figures_have_a_line_for_each_result(edit, columns, is_series):
    assert edit.columns == columns
    assert edit.is_series == is_series
    assert len(edit.titles) == len(edit.series) == len(columns)
    assert len(set(edit.titles)) == len(columns)


@pytest.mark.parametrize("along", ["weight", "pattern"])
@pytest.mark.parametrize(
    ("way", "end", "method"),
    [("amount", 0.5, "move"), ("target", "across", "move_to"), ("to_class_mean", 0.5, "move_to_class_mean")],
)
def test_codes_are_moved_by_the_directions(attributes, way, end, method, along):
    expected = getattr(attributes, method)(Z_SEM, "lesion", end, "age", along)
    options = {way: end, "keep": "age", "along": along}
    (moved,) = Edit("lesion", **options).moved(Z_SEM, attributes)
    torch.testing.assert_close(moved, expected, rtol=0, atol=0)
    first, last = Edit("lesion", **options, num_steps=2).moved(Z_SEM, attributes)
    torch.testing.assert_close(last, expected)
    torch.testing.assert_close(first, (Z_SEM + expected) / 2)
    series = Edit("lesion", **options | {way: [end, end]}).moved(Z_SEM, attributes)
    torch.testing.assert_close(series, [expected] * 2, rtol=0, atol=0)


def test_what_is_kept_may_be_one_name_or_several():
    assert Edit("a", 1.0, keep="bc").keep == Edit("a", 1.0, keep=["bc"]).keep == ("bc",)
    assert Edit("a", 1.0).keep == ()
    assert fingerprint(Edit("a", 1.0, keep="bc")) == fingerprint(Edit("a", 1.0, keep=["bc"]))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit("tumour", 1.0), "Unknown attribute 'tumour'"),
        (Edit("age", target="across"), "continuous and has no boundary"),
        (Edit("age", to_class_mean=[0, 1]), "'age' is continuous and has no two classes"),
        (Edit("lesion", to_class_mean=[0, 2]), "is a number from -1"),
        (Edit("lesion", 1.0, keep="lesion"), "is to be edited and cannot be kept"),
        (Edit("lesion", 1.0, along="gradient"), "along must be one of"),
    ],
)
def test_what_the_directions_cannot_do_is_refused(attributes, edit, message):
    Edit("lesion", to_class_mean=[-1, 1], keep="age", along="pattern").check(attributes)
    with pytest.raises(ValueError, match=message):
        edit.check(attributes)
