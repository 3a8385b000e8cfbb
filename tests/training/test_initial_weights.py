# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch

from monai_diffae.training import load_initial_weights

FRESH = SimpleNamespace(state=SimpleNamespace(iteration=0))


def small() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))


def test_every_network_gets_the_weights(tmp_path):
    networks, given = [small(), small()], small()
    torch.save(given.state_dict(), tmp_path / "model.pt")
    load_initial_weights(tmp_path / "model.pt", networks, FRESH)
    for network in networks:
        torch.testing.assert_close(network.state_dict(), given.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("iteration", [0, 7])
def test_nothing_is_loaded_where_nothing_is_given_or_a_run_goes_on(tmp_path, iteration):
    network = small()
    before = copy.deepcopy(network.state_dict())
    path = tmp_path / "nowhere.pt" if iteration else None
    load_initial_weights(path, [network], SimpleNamespace(state=SimpleNamespace(iteration=iteration)))
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def wrong_states() -> dict[str, tuple[object, str]]:
    state = small().state_dict()
    return {
        "missing": ({k: v for k, v in state.items() if k != "1.bias"}, "1 of 4 parameters are missing .1.bias is the"),
        "surplus": (state | {"2.bias": torch.zeros(1)}, "1 are not the network's .2.bias is the first"),
        "shape": (state | {"1.bias": torch.zeros(5)}, r"1.bias has \[5\], expected \[1\]"),
        "checkpoint": ({"network": state, "trainer": {"iteration": 3}}, "no plain state dict"),
        "list": ([1, 2], "no plain state dict"),
    }


@pytest.mark.parametrize("case", wrong_states())
def test_what_does_not_fit_is_told_and_nothing_changes(tmp_path, case):
    content, message = wrong_states()[case]
    torch.save(content, tmp_path / "model.pt")
    network = small()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ValueError, match=message):
        load_initial_weights(tmp_path / "model.pt", [network], FRESH)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"init_from .*nowhere\.pt"):
        load_initial_weights(tmp_path / "nowhere.pt", [small()], FRESH)
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"broken\.pt' cannot be read"):
        load_initial_weights(tmp_path / "broken.pt", [small()], FRESH)
