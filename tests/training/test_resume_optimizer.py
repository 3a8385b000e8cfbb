# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from ignite.engine import Engine

from monai_diffae.training import make_optimizer, resume_training


def saved_run(folder, name):
    layer = torch.nn.Linear(3, 3)
    optimizer = make_optimizer(name, layer.parameters(), 1e-3)
    layer(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    folder.mkdir()
    torch.save({"optimizer": optimizer.state_dict(), "trainer": {"iteration": 7}}, folder / "checkpoint_7.pt")


def engine():
    engine = Engine(lambda engine, batch: None)
    engine.state.max_epochs, engine.state.epoch_length = 10, 1
    return engine


@pytest.mark.parametrize("saved", ["adam", "muon"])
@pytest.mark.parametrize("own", ["adam", "muon"])
def test_a_run_goes_on_with_its_own_optimizer_only(tmp_path, saved, own):
    saved_run(tmp_path / "run", saved)
    optimizer = make_optimizer(own, torch.nn.Linear(3, 3).parameters(), 1e-3)
    if saved == own:
        assert resume_training(tmp_path / "run", {"optimizer": optimizer}, engine()) == 7
        assert optimizer.state_dict()["state"]
    else:
        with pytest.raises(ValueError, match=r"checkpoint_7.pt' is of another optimizer than .*set optimizer to"):
            resume_training(tmp_path / "run", {"optimizer": optimizer}, engine())
        assert not optimizer.state_dict()["state"]


def test_settings_that_a_newer_pytorch_added_do_not_matter(tmp_path):
    saved_run(tmp_path / "run", "adam")
    file = tmp_path / "run" / "checkpoint_7.pt"
    checkpoint = torch.load(file, weights_only=True)
    del checkpoint["optimizer"]["param_groups"][0]["decoupled_weight_decay"]
    torch.save(checkpoint, file)
    optimizer = make_optimizer("adam", torch.nn.Linear(3, 3).parameters(), 1e-3)
    assert resume_training(tmp_path / "run", {"optimizer": optimizer}, engine()) == 7
