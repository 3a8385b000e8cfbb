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


def evaluator(path, network) -> Engine:
    engine = Engine(lambda *_: None)
    WeightsLoader(str(path), {"model": network}).attach(engine)
    return engine


def test_weights_that_a_network_is_given_are_kept_in_all_runs_and_need_no_file(tmp_path, caplog):
    network, given = torch.nn.Linear(3, 2), [torch.nn.Linear(3, 2).state_dict() for _ in range(2)]
    engine = evaluator(tmp_path / "model.pt", network)
    for state in given:
        network.load_state_dict(state)
        with caplog.at_level("INFO"):
            engine.run([0])
        assert torch.equal(network.weight, state["weight"])
    assert caplog.text.count("have weights that were given to them") == 2


def test_without_given_weights_the_file_is_loaded_and_may_be_replaced_between_runs(tmp_path):
    network = torch.nn.Linear(3, 2)
    engine = evaluator(tmp_path / "model.pt", network)
    for _ in range(2):
        state = torch.nn.Linear(3, 2).state_dict()
        torch.save(state, tmp_path / "model.pt")
        engine.run([0])
        assert torch.equal(network.weight, state["weight"])
    other = torch.nn.Linear(3, 2).state_dict()
    network.load_state_dict(other)  # given after the file was loaded
    engine.run([0])
    assert torch.equal(network.weight, other["weight"])


@pytest.mark.parametrize("given", [False, True])
def test_weights_that_are_not_finite_are_refused(tmp_path, given):
    network = torch.nn.Linear(3, 2)
    engine = evaluator(tmp_path / "model.pt", network)
    bad = {"weight": torch.full((2, 3), torch.nan), "bias": torch.zeros(2)}
    torch.save(bad, tmp_path / "model.pt")
    if given:
        network.load_state_dict(bad)
    which = "given" if given else r"in '.*model\.pt'"
    with pytest.raises(ValueError, match=rf"The weights {which} are of a training that failed: 1 of 2 tensors"):
        engine.run([0])
    with pytest.raises(ValueError, match="of a training that failed: 1 of 2 tensors"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "model.pt")
