# SPDX-License-Identifier: Apache-2.0
"""``--device cpu`` is a word and not a ``torch.device``; the tests of the workflows give it as such, too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

BUNDLES = Path(__file__).parents[2] / "bundles"
CONFIGS = sorted(BUNDLES.glob("*/configs/**/*.yaml"))
TRAINING = [path for path in CONFIGS if path.name == "train.yaml"]


def parser(path: Path, **changes: object) -> ConfigParser:
    parsed = ConfigParser()
    parsed.read_config(str(path))
    parsed.update({"bundle_root": str(path.parents[1])} | changes)
    return parsed


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_no_configuration_asks_a_word_for_what_a_device_has(path):
    assert "@device." not in path.read_text()


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.parents[1].name)
def test_training_finds_its_memory_format_and_network(path, device):
    for precision, expected in (("float32", torch.channels_last), ("bfloat16", torch.contiguous_format)):
        parsed = parser(path, device=device, precision=precision)
        assert parsed.get_parsed_content("memory_format") == expected
    assert next(parser(path, device=device).get_parsed_content("network").parameters()).device.type == "cpu"


@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda")])
@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.parents[1].name)
def test_gpus_may_be_words_too(path, device):
    parsed = parser(path, device=device, precision="bfloat16")
    assert parsed.get_parsed_content("memory_format") == torch.channels_last
    inference = parser(path.with_name("inference.yaml"), device=device)
    assert inference.get_parsed_content("found_batch_size") > 100
