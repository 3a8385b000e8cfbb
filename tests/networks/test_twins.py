# SPDX-License-Identifier: Apache-2.0
"""What both networks have in common: gradient checkpointing, copies and files."""

import copy
import pickle

import pytest
import torch
from arguments import ARGUMENTS
from conftest import randomize
from torch import nn
from torch.testing import assert_close

from monai_diffae.networks import DiffAEUNet, SemanticEncoder


@pytest.fixture(params=["decoder", "encoder"])
def case(request, device) -> tuple[nn.Module, nn.Module, tuple[torch.Tensor, ...]]:
    """A network, a twin of the same weights that checkpoints, and inputs."""
    if request.param == "decoder":
        plain, saving = (DiffAEUNet(**ARGUMENTS, out_channels=1, use_checkpoint=flag) for flag in (False, True))
        inputs = torch.randn(3, 1, 8, 8), torch.randint(0, 1000, (3,)), torch.randn(3, 5)
    else:
        plain, saving = (SemanticEncoder(**ARGUMENTS, use_checkpoint=flag) for flag in (False, True))
        inputs = (torch.randn(3, 1, 8, 8),)
    saving.load_state_dict(randomize(plain).state_dict())
    return plain.to(device), saving.to(device), tuple(tensor.to(device) for tensor in inputs)


def test_neither_outputs_nor_gradients_change(case):
    plain, saving, inputs = case
    outputs = [network.train()(*inputs) for network in (plain, saving)]
    assert_close(outputs[1], outputs[0], rtol=0, atol=1e-6)
    for output in outputs:
        (output - 1).square().sum().backward()
    for (name, expected), parameter in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert_close(parameter.grad, expected.grad, rtol=1e-4, atol=1e-3, msg=name)


def test_fewer_activations_are_kept_in_training_only(case):
    plain, saving, inputs = case

    def saved_tensors(network: nn.Module) -> int:
        count = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: count.append(1) or tensor, lambda tensor: tensor):
            network(*inputs)
        return len(count)

    assert saved_tensors(saving.train()) < saved_tensors(plain.train()) / 2
    assert saved_tensors(saving.eval()) == saved_tensors(plain.eval())


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))], ids=["deepcopy", "pickle"]
)
def test_a_copy_gives_the_same_and_shares_no_parameter(case, copied):
    network, _, inputs = case
    twin, expected = copied(network.eval()), network(*inputs)
    assert torch.equal(twin(*inputs), expected)
    for parameter in twin.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(network(*inputs), expected)


def test_the_state_survives_a_file(case, tmp_path):
    network, twin, inputs = case
    torch.save(network.eval().state_dict(), tmp_path / "network.pt")
    for parameter in twin.eval().parameters():
        nn.init.zeros_(parameter)
    twin.load_state_dict(torch.load(tmp_path / "network.pt", weights_only=True))
    assert torch.equal(twin(*inputs), network(*inputs))
