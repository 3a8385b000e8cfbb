# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from monai_diffae.networks.group_norm import group_norm

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (32, 32), (8, 8)])
def test_groups_of_the_norm_are_never_more_than_its_channels(channels, groups):
    norm = group_norm(32, channels)
    assert norm.num_groups == groups
    assert norm.eps == 1e-5


def test_channels_that_groups_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"norm_num_groups \(4\).*got 18 channels"):
        group_norm(4, 18)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("channels", "side"), [(256, 16), (512, 16), (64, 40)], ids=["slow", "whole_vectors", "large"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norm_is_pytorchs_to_rounding_in_its_type_and_format(dtype, channels, side, memory_format, device):
    norm = group_norm(32, channels).to(device)
    with torch.no_grad():
        norm.weight.normal_(), norm.bias.normal_()
    x = (3 * torch.randn(2, channels, side, side) + 1).to(device, dtype)
    x = x.contiguous(memory_format=FORMATS[memory_format])
    found = norm(x)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=FORMATS[memory_format])
    expected = F.group_norm(x.double(), 32, norm.weight.double(), norm.bias.double(), norm.eps)
    rounding = 2e-2 if dtype == torch.bfloat16 else 1e-5
    assert_close(found.double(), expected, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_norm_has_the_gradients_of_float32(memory_format, device):
    norm = group_norm(32, 256).to(device)
    x = torch.randn(2, 256, 8, 8).to(device, torch.bfloat16).contiguous(memory_format=FORMATS[memory_format])
    gradient = torch.randn(x.shape).to(device)
    low, high = x.clone().requires_grad_(), x.float().requires_grad_()
    norm(low).backward(gradient.bfloat16())
    F.group_norm(high, 32).backward(gradient.bfloat16().float())
    assert_close(low.grad.float(), high.grad, rtol=0.05, atol=0.02)
