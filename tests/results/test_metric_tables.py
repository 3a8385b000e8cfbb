# SPDX-License-Identifier: Apache-2.0
import math

from monai_diffae.metrics.evaluation.findings import Measure
from monai_diffae.results.metric_tables import metric_tables


def test_what_was_measured_alike_stands_in_one_table():
    measures = [
        Measure("psnr", "a", 40.0, 38.0, 42.0, "95 % of images", "dB", 12),
        Measure("seconds", "a", 0.5, 0.5, 0.5, "95 % of images", "s an image", 12),
        Measure("psnr", "b", 30.0, 28.0, 32.0, "95 % of images", "dB", 12),
        Measure("seconds", "b", 0.25, math.nan, math.nan, "", "s an image", 12),
        Measure("r2", "c", 0.91234, count=7),
    ]
    first, second = metric_tables(measures)
    assert first == (
        ["of (n = 12; 95 % of images)", "psnr (dB)", "seconds (s an image)"],
        [["a", "40 (38 to 42)", "0.5"], ["b", "30 (28 to 32)", "0.25"]],
    )
    assert second == (["of (n = 7)", "r2"], [["c", "0.9123"]])


def test_what_differs_between_rows_stands_in_them():
    measures = [
        Measure("mae", "a", 1.0, unit="mm", count=3),
        Measure("mae", "b", 2.0, unit="s", count=4),
        Measure("mae", "c", 2.0),
    ]
    ((head, rows),) = metric_tables(measures)
    assert head == ["of", "mae"]
    assert rows == [["a (n = 3)", "1 mm"], ["b (n = 4)", "2 s"], ["c", "2"]]


def test_counts_of_one_thing_that_differ_stand_in_the_cells():
    ((head, rows),) = metric_tables([Measure("added", "a", 1.0, count=3), Measure("removed", "a", 0.5, count=2)])
    assert (head, rows) == (["of", "added", "removed"], [["a", "1, n = 3", "0.5, n = 2"]])


def test_no_measures_make_no_table():
    assert not list(metric_tables([]))
