# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_diffae.data import add_labels, find_labels_file, label_columns


@pytest.fixture
def table(tmp_path):
    text = "file,subject,age,sex,grade,empty,odd\na.png,1,60,f,2,,1\nb.png,2,,m,3,,inf\n"
    (tmp_path / "labels.csv").write_text(text)
    return tmp_path / "labels.csv"


def test_columns_of_numbers_are_found(table):
    assert label_columns(table) == ["age", "grade"]
    assert label_columns(table, ["grade", "sex", "other"]) == ["grade"]
    assert label_columns(None) == []


def test_table_is_the_named_one_or_that_of_the_folder(table, tmp_path):
    assert find_labels_file(None, tmp_path) == str(table)
    assert find_labels_file(table, None) == str(table)
    assert find_labels_file(None, tmp_path / "other") is None
    assert find_labels_file(None, None) is None
    with pytest.raises(ValueError, match="There is no labels_file"):
        find_labels_file(tmp_path / "none.csv", tmp_path)


def test_no_labels_need_no_table():
    assert add_labels([{"image": "a.png"}], None, []) == [{"image": "a.png"}]
    with pytest.raises(ValueError, match="need a table"):
        add_labels([{"image": "a.png"}], None, ["age"])
