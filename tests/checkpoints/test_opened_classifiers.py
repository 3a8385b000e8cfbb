# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_diffae.checkpoints import open_classifier

NETWORK = {
    "_target_": "Classifier",
    "in_shape": [1, 8, 8],
    "classes": "$@num_classes",
    "channels": [4],
    "strides": [2],
    "num_res_units": 0,
}


def network(classes: int = 2) -> torch.nn.Module:
    parser = ConfigParser({"num_classes": classes, "network_def": NETWORK})
    torch.manual_seed(0)
    return parser.get_parsed_content("network_def").eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 1, 8, 8)


def bundle(folder: Path, config: str = "inference.json", **others) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / config).write_text(json.dumps({"num_classes": 2, "network_def": NETWORK} | others))
    (folder / "configs" / "metadata.json").write_text('{"version": "1"}')
    torch.save(network().state_dict(), folder / "models" / "model.pt")
    return folder


def test_files_with_their_network_are_opened(tmp_path, images):
    expected = network()(images)
    torch.jit.script(network()).save(str(tmp_path / "c.ts"))
    torch.export.save(torch.export.export(network(), (images,)), tmp_path / "c.pt2")
    batch = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    torch.export.save(torch.export.export(network(), (images,), **batch), tmp_path / "any.pt2")
    for name in ("c.ts", "c.pt2", "any.pt2"):
        opened = open_classifier(tmp_path / name).train().eval()
        assert not opened.training
        for count in (1, 2, 5):  # whatever the number that it was exported for
            several = images.repeat(3, 1, 1, 1)[:count]
            torch.testing.assert_close(opened(several), network()(several))
        torch.testing.assert_close(opened(images), expected)


def test_weights_are_loaded_into_their_network(tmp_path, images):
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    other = network()
    torch.nn.init.zeros_(next(other.parameters()))
    opened = open_classifier(tmp_path / "weights.pt", network=other.train())
    torch.testing.assert_close(opened(images), network()(images))
    assert not opened.training
    with pytest.raises(ValueError, match="of another network"):
        open_classifier(tmp_path / "weights.pt", network=network(3))


@pytest.mark.parametrize("config", ["inference.json", "train.yaml"])
def test_the_network_of_a_bundle_is_opened_with_its_weights(tmp_path, images, config):
    opened = open_classifier(bundle(tmp_path / "bundle", config))
    torch.testing.assert_close(opened(images), network()(images))
    assert not opened.training


def test_a_bundle_of_torchscript_alone_is_opened(tmp_path, images):
    folder = bundle(tmp_path / "bundle")
    (folder / "configs" / "inference.json").write_text("{}")
    torch.jit.script(network()).save(str(folder / "models" / "model.ts"))
    torch.testing.assert_close(open_classifier(folder)(images), network()(images))


def test_what_holds_no_classifier_is_refused(tmp_path):
    with pytest.raises(ValueError, match="classifier_path"):
        open_classifier(None)
    with pytest.raises(FileNotFoundError, match="no classifier"):
        open_classifier(tmp_path / "none.ts")
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="give it as classifier_def"):
        open_classifier(tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="no MONAI bundle"):
        open_classifier(tmp_path)
    folder = bundle(tmp_path / "bundle")
    (folder / "configs" / "inference.json").write_text("{}")
    with pytest.raises(ValueError, match="expected network_def"):
        open_classifier(folder)
