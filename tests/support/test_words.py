# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fire.parser import DefaultParseValue

from monai_diffae.support.words import as_typed, names_in


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("hand", ["hand"]),
        ("hand,foot", ["hand", "foot"]),
        ("['hand','foot']", ["hand", "foot"]),
        ("[hand]", ["hand"]),
        ("2024", ["2024"]),
        ("[1,2]", ["1", "2"]),
        ("None", []),
        ("is 8", ["is 8"]),
    ],
)
def test_names_are_one_word_or_several(typed, names):
    assert names_in(DefaultParseValue(typed)) == names


@pytest.mark.parametrize("spelled", ["2024", "2024_01", "1e3", "0x10", "1.50", "007", "runs/1", "1,2", "True", "-5"])
@pytest.mark.parametrize("way", ["--output_dir {}", "--output_dir={}", "--output-dir={}"])
def test_a_folder_is_named_as_it_was_typed(monkeypatch, spelled, way):
    monkeypatch.setattr(sys, "argv", ["run", "--seed", "5", *way.format(spelled).split(" "), "--z_dim", "8"])
    assert as_typed(DefaultParseValue(spelled), "output_dir") == spelled


def test_the_last_of_an_option_counts(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run", "--output_dir", "1_0", "--output_dir", "10"])
    assert as_typed(10, "output_dir") == "10"


def test_paths_and_numbers_of_python_are_taken(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["python"])
    assert as_typed(Path("a") / "b", "output_dir") == "a/b"
    assert as_typed(2024, "output_dir") == "2024"


@pytest.mark.parametrize("value", [None, 1.5, True, ["a"], {"a": 1}])
def test_what_is_no_text_is_refused_with_its_option(monkeypatch, value):
    monkeypatch.setattr(sys, "argv", ["python"])
    with pytest.raises(ValueError, match=r"^dataset_dir is text, .* Quote it: --dataset_dir"):
        as_typed(value, "dataset_dir")
