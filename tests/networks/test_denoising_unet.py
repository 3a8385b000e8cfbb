# SPDX-License-Identifier: Apache-2.0

import arguments
import pytest
import torch
import torch.nn.functional as F
from conftest import randomize
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding
from torch import nn
from torch.testing import assert_close

from monai_diffae.networks import DiffAEUNet
from monai_diffae.networks.attention import SelfAttentionBlock
from monai_diffae.networks.blocks import ConditionedResidualBlock

ARGUMENTS = arguments.ARGUMENTS | {"out_channels": 1}
CASES = arguments.CASES | {
    "2d_three_channels": {"in_channels": 3, "out_channels": 3},
    "2d_more_channels_out_than_in": {"out_channels": 2, "time_embed_dim": 10},
    "2d_patches": {"patch_size": 2, "in_channels": 3, "out_channels": 2},
}


def unet_of(device: str, **changes) -> DiffAEUNet:
    """In evaluation mode, with zero-initialised branches moved off zero."""
    return randomize(DiffAEUNet(**{**ARGUMENTS, **changes})).eval().to(device)


def inputs_for(unet: DiffAEUNet, device: str, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    sides = (unet.divisor * n for n in (1, 2, 3)[: unet.spatial_dims])
    inputs = torch.randn(batch, unet.in_channels, *sides), torch.randint(0, 1000, (batch,)), torch.randn(batch, 5)
    return tuple(tensor.to(device) for tensor in inputs)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_prediction_has_the_shape_of_the_image_and_every_parameter_gets_a_gradient(case, batch, device):
    unet = unet_of(device, **CASES[case])
    x, timesteps, context = inputs_for(unet, device, batch)
    prediction = unet(x, timesteps, context)
    assert prediction.shape == (batch, CASES[case].get("out_channels", 1), *x.shape[2:])
    (prediction - 1).square().sum().backward()
    for name, parameter in unet.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("case", CASES)
def test_prediction_starts_at_zero(case, device):
    unet = DiffAEUNet(**{**ARGUMENTS, **CASES[case]}).to(device)
    assert not unet(*inputs_for(unet, device)).any()


@pytest.mark.parametrize("timestep", [0, 517, 999])
def test_timesteps_are_equal_as_integers_and_floats_for_one_and_for_each(timestep, device):
    unet = unet_of(device)
    x, _, context = inputs_for(unet, device)
    expected = unet(x, torch.full((3,), timestep, device=device), context)
    for timesteps in (torch.tensor([timestep]), torch.tensor([float(timestep)]), torch.full((3,), float(timestep))):
        assert_close(unet(x, timesteps.to(device), context), expected, rtol=0, atol=1e-5)
    assert_close(unet(x, torch.tensor([timestep]), context), expected, rtol=0, atol=1e-5)  # from the CPU


def test_timestep_and_code_of_every_image_change_its_prediction_only(device):
    unet = unet_of(device)
    x, timesteps, context = inputs_for(unet, device)
    before = unet(x, timesteps, context)
    timesteps[0] = (timesteps[0] + 500) % 1000
    context[1] += 1
    change = (unet(x, timesteps, context) - before).abs().flatten(1).amax(dim=1)
    assert (change[:2] > 1e-4).all()
    assert change[2] < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_prediction_for_an_image_does_not_depend_on_its_batch(case, device):
    unet = unet_of(device, **CASES[case])
    batch = inputs_for(unet, device, batch=5)
    with torch.no_grad():
        one_by_one = [unet(*(tensor[i : i + 1] for tensor in batch)) for i in range(5)]
        assert_close(torch.cat(one_by_one), unet(*batch), rtol=0, atol=1e-5)


def test_levels_have_the_asked_blocks_attention_and_heads():
    unet = DiffAEUNet(**{**ARGUMENTS, "num_res_blocks": (2, 1, 3), "num_head_channels": (4, 6, 8)})

    def widths(stages: nn.Module) -> list[tuple[int, int]]:
        blocks = [module for module in stages.modules() if isinstance(module, ConditionedResidualBlock)]
        return [(block.conv_in.in_channels, block.conv_in.out_channels) for block in blocks]

    def heads(stages: nn.Module) -> list[int]:
        return [module.num_heads for module in stages.modules() if isinstance(module, SelfAttentionBlock)]

    down = [(8, 8), (8, 8), (8, 8), (8, 12), (12, 12), (12, 16), (16, 16), (16, 16)]
    assert widths(unet.down_blocks) == down  # with a down-sampling block after each of the first two levels
    assert widths(unet.middle_block) == [(16, 16), (16, 16)]
    # One block more a level, each with the skip connection of its level; the last of a level is up-sampled.
    up = [(32, 16), (32, 16), (32, 16), (28, 16), (16, 16), (28, 12), (20, 12), (12, 12), (20, 8), (16, 8), (16, 8)]
    assert widths(unet.up_blocks) == up
    assert (heads(unet.down_blocks), heads(unet.middle_block), heads(unet.up_blocks)) == ([2], [2], [2, 2])


@pytest.mark.parametrize("time_embed_dim", [None, 10])
def test_prediction_without_levels_is_the_plain_chain_of_its_parts(time_embed_dim, device):
    unet = unet_of(device, channels=(8,), attention_levels=(False,), time_embed_dim=time_embed_dim)
    x, timesteps, context = inputs_for(unet, device)
    x = torch.randn(3, 1, 5, 7).to(device)  # sides of any size
    embedding = unet.time_embed[0](get_timestep_embedding(timesteps, 8))
    assert embedding.shape[1] == (time_embed_dim or 32)
    embedding = unet.time_embed[2](F.silu(embedding))
    first = unet.conv_in(x)
    second = unet.down_blocks[0][0](first, embedding, context)
    block, attention, last = unet.middle_block
    h = last(attention(block(second, embedding, context)), embedding, context)
    h = unet.up_blocks[0][0](torch.cat([h, second], dim=1), embedding, context)
    h = unet.up_blocks[1][0](torch.cat([h, first], dim=1), embedding, context)
    norm, _, conv = unet.out
    assert_close(unet(x, timesteps, context), conv(F.silu(norm(h))), rtol=0, atol=1e-5)


def test_patches_are_written_from_depth_to_space(device):
    unet = unet_of(device, patch_size=2, out_channels=2)
    with torch.no_grad():
        unet.out[2].weight.zero_()
        unet.out[2].bias.copy_(torch.arange(8.0))
    prediction = unet(*inputs_for(unet, device))
    assert prediction[0, :, :2, :2].tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert torch.equal(prediction[:, :, 2:4, 2:4], prediction[:, :, :2, :2])


def test_dropout_acts_in_training_only(device):
    unet = unet_of(device, dropout=0.5)
    inputs = inputs_for(unet, device)
    assert torch.equal(unet(*inputs), unet(*inputs))
    unet.train()
    assert not torch.allclose(unet(*inputs), unet(*inputs))


def test_bfloat16_autocast_stays_near_float32(device):
    unet = unet_of(device)
    inputs = inputs_for(unet, device)
    with torch.no_grad():
        expected = unet(*inputs)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            prediction = unet(*inputs)
    assert prediction.dtype == torch.bfloat16
    assert_close(prediction.float(), expected, rtol=0, atol=0.05 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"x": (3, 2, 8, 8)}, r"\(batch, 1, and 2 spatial sizes\), got \[3, 2, 8, 8\]"),
        ({"x": (3, 1, 8, 8, 8)}, r"\(batch, 1, and 2 spatial sizes\), got \[3, 1, 8, 8, 8\]"),
        ({"x": (3, 1, 8, 6)}, r"multiple of 4 .* got \[8, 6\]"),
        ({"timesteps": (2,)}, r"\(1,\) or \(3,\), got \(2,\)"),
        ({"timesteps": ()}, r"\(1,\) or \(3,\), got \(\)"),
        ({"timesteps": (3, 1)}, r"\(1,\) or \(3,\), got \(3, 1\)"),
        ({"context": (1, 5)}, r"shape \(3, 5\), got \(1, 5\)"),
        ({"context": (3, 4)}, r"shape \(3, 5\), got \(3, 4\)"),
        ({"context": (3, 1, 5)}, r"shape \(3, 5\), got \(3, 1, 5\)"),
    ],
    ids=lambda value: "_".join(map(str, ["", *next(iter(value.values()))])) if isinstance(value, dict) else "",
)
def test_input_of_another_shape_is_an_error_that_names_both_shapes(shapes, message, device):
    shapes = {"x": (3, 1, 8, 8), "timesteps": (3,), "context": (3, 5), **shapes}
    with pytest.raises(ValueError, match=message):
        unet_of(device)(**{name: torch.zeros(shape, device=device) for name, shape in shapes.items()})
