# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from ignite.engine import Engine

from monai_diffae.checkpoints import WeightsLoader, load_weights


def test_weights_are_loaded_into_the_network_that_is_returned(tmp_path):
    source, network = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    torch.save(source.state_dict(), tmp_path / "model.pt")
    assert load_weights(network, tmp_path / "model.pt") is network
    assert torch.equal(network.weight, source.weight)


def test_missing_weights_are_an_error_that_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights .*model\.pt"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "model.pt")


def test_weights_of_another_network_are_an_error_that_names_what_differs(tmp_path):
    torch.save(torch.nn.Linear(4, 2).state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model.pt' are of another network: .*weight has \[2, 4\], expected \[2, 3\]"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "model.pt")


def test_a_run_without_weights_ends_with_what_makes_them(tmp_path):
    network = torch.nn.Linear(3, 2)
    loader = WeightsLoader(str(tmp_path / "model.pt"), {"model": network})
    with pytest.raises(FileNotFoundError, match=r"no weights '.*model\.pt': train\.yaml makes them .* ckpt_path"):
        loader(Engine(lambda *_: None))
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "model.pt")
    loader(Engine(lambda *_: None))
    assert torch.equal(network.weight, torch.load(tmp_path / "model.pt", weights_only=True)["weight"])
