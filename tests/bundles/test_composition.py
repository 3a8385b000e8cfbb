# SPDX-License-Identifier: Apache-2.0
"""Texts put together from parts: what is replaced, what stays, and that comments stay with their lines."""

import pytest
import yaml

from monai_diffae.bundles.composition import blocks, entries, fill, override

TEXT = """\
# What this file does.

imports:
- $import os

# Sizes
image_size: 64 # sides
z_dim: 128
network: # the one to train
  _target_: Net
  # of the first level
  channels: [8, 16] # small

# Data
files: $find(
  @folder)
note: 'a # no comment' # a comment
"""


def test_entries_hold_all_lines_of_a_key_and_the_comments_above_it():
    found = entries(TEXT)
    assert list(found) == ["imports", "image_size", "z_dim", "network", "files", "note"]
    assert found["imports"] == "imports:\n- $import os\n"
    assert found["image_size"] == "# Sizes\nimage_size: 64 # sides\n"
    assert found["network"] == TEXT[TEXT.index("network:") : TEXT.index("\n# Data")]
    assert found["files"] == "# Data\nfiles: $find(\n  @folder)\n"
    assert entries("# nothing\n") == {}


def test_a_key_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="'a' stands twice"):
        entries("a: 1\nb: 2\na: 3\n")


def test_blocks_are_the_values_at_the_margin():
    text = "one:\n  # why\n  a: 1\n  b: # two\n    c: 2\ntwo:\n  - x\n  - y\nnone:\nnotes:\n  # Only words.\n"
    assert blocks(text) == {
        "one": "# why\na: 1\nb: # two\n  c: 2\n",
        "two": "- x\n- y\n",
        "none": "",
        "notes": "# Only words.\n",
    }
    with pytest.raises(ValueError, match=r"'a' should be a block of lines, got a: 1"):
        blocks("a: 1\n")


def test_an_included_block_is_indented_and_may_include_others():
    parts = {"transforms": "- flip\n# include: noise\n", "noise": "- noise:\n    seed: {{seed}}\n"}
    text = "train:\n  transforms:\n  # include: transforms\n  - last\n# include: absent\nend: true\n"
    filled, used = fill(text, parts, {"seed": "0"})
    assert filled == "train:\n  transforms:\n  - flip\n  - noise:\n      seed: 0\n  - last\nend: true\n"
    assert used == {"transforms", "noise", "absent"}


def test_words_may_hold_words_and_a_word_that_is_not_there_is_named():
    assert fill("a: {{x}}\n", {}, {"x": "[{{y}}]", "y": "1"})[0] == "a: [1]\n"
    with pytest.raises(ValueError, match=r"no word 'z'; there are: x, y\."):
        fill("a: {{z}}\n", {}, {"x": "1", "y": "2"})


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        ("z_dim: 64\n", "z_dim: 128\n", "z_dim: 64\n"),
        ("image_size: 32\n", "image_size: 64 # sides\n", "image_size: 32 # sides\n"),
        ("image_size: 32 # pixels\n", "image_size: 64 # sides\n", "image_size: 32 # pixels\n"),
        ("note: b\n", "note: 'a # no comment' # a comment\n", "note: b # a comment\n"),
        ("# Size\nimage_size: 32\n", "# Sizes\nimage_size: 64 # sides\n", "# Size\nimage_size: 32 # sides\n"),
        ("files: null\n", "files: $find(\n  @folder)\n", "files: null\n"),
        ("z_dim: # many\n- 1\n- 2\n", "z_dim: 128\n", "z_dim: # many\n- 1\n- 2\n"),
        ("image_size:\n- 1\n", "image_size: 64 # sides\n", "image_size:\n- 1\n"),
        ("imports:\n- $import sys\n", "imports:\n- $import os\n", "imports:\n- $import sys\n"),
    ],
)
def test_an_id_gives_way_and_the_rest_stays(change, old, new):
    changed = override(TEXT, entries(change))
    assert changed == TEXT.replace(old, new)
    assert yaml.safe_load(changed) == yaml.safe_load(TEXT) | yaml.safe_load(change)


def test_an_id_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"no id 'zdim' to change; there are: imports, image_size, z_dim"):
        override(TEXT, entries("zdim: 64\n"))
