# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from conftest import randomize
from torch import nn
from torch.testing import assert_close

from monai_diffae.networks.attention import SelfAttentionBlock
from monai_diffae.networks.blocks import (
    ConditionedResidualBlock,
    ConditionedSequential,
    ResidualBlock,
    resampling,
    zero_init,
)

RESAMPLED = {None: 1.0, "down": 0.5, "up": 2.0}


def image(spatial_dims: int, device: str, channels: int = 8, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, channels, *(4, 6, 8)[:spatial_dims]).to(device)


@pytest.mark.parametrize("resample", RESAMPLED)
@pytest.mark.parametrize("out_channels", [8, 12])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_blocks_give_the_asked_channels_and_sides(spatial_dims, out_channels, resample, device):
    x = image(spatial_dims, device)
    expected = (3, out_channels, *(int(size * RESAMPLED[resample]) for size in x.shape[2:]))
    assert ResidualBlock(spatial_dims, 8, out_channels, 4, resample).to(device)(x).shape == expected
    conditioned = ConditionedResidualBlock(spatial_dims, 8, out_channels, 6, 5, 4, resample).to(device)
    assert conditioned(x, torch.zeros(3, 6, device=device), torch.zeros(3, 5, device=device)).shape == expected


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_residual_block_is_its_formula(spatial_dims, device):
    block = randomize(ResidualBlock(spatial_dims, 8, 12, 4, "down")).to(device)
    x = image(spatial_dims, device)
    conv, pool = (F.conv2d, F.avg_pool2d) if spatial_dims == 2 else (F.conv3d, F.avg_pool3d)
    h = F.silu(F.group_norm(x, 4, block.norm.weight, block.norm.bias))
    expected = conv(pool(h, 2), block.conv.weight, block.conv.bias, padding=1)
    expected = expected + conv(pool(x, 2), block.skip.weight, block.skip.bias)
    assert_close(block(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("resample", RESAMPLED)
@pytest.mark.parametrize("time_batch", [1, 3], ids=["one_timestep", "timestep_each"])
def test_adaptive_group_norm_is_the_paper_formula_before_fusing(time_batch, resample, device):
    block = randomize(
        ConditionedResidualBlock(2, 8, 12, time_embed_dim=6, z_dim=5, norm_num_groups=4, resample=resample)
    )
    block = block.to(device)
    x, time_embedding, z_sem = image(2, device), torch.randn(time_batch, 6).to(device), torch.randn(3, 5).to(device)

    h = block.conv_in(block.resample(F.silu(block.norm_in(x))))
    time_condition = block.time_proj(F.silu(time_embedding))[:, :, None, None]
    t_scale, t_shift = time_condition[:, :12], time_condition[:, 12:]
    z_scale = block.z_proj(F.silu(z_sem))[:, :, None, None]
    h = block.norm_out(h) * (1 + t_scale) + t_shift  # Eq. 7, the timestep first,
    h = h * (1 + z_scale)  # then z_sem
    expected = block.skip(block.resample(x)) + block.conv_out(F.silu(h))

    assert_close(block(x, time_embedding, z_sem), expected, rtol=0, atol=1e-5)


def test_conditioned_block_with_equal_channels_starts_as_the_identity(device):
    block = ConditionedResidualBlock(2, 8, 8, time_embed_dim=6, z_dim=5, norm_num_groups=4).to(device)
    x = image(2, device)
    assert torch.equal(block(x, torch.randn(3, 6).to(device), torch.randn(3, 5).to(device)), x)


def test_sequential_conditions_only_the_blocks_that_take_conditions(device):
    first = randomize(ConditionedResidualBlock(2, 8, 8, time_embed_dim=6, z_dim=5, norm_num_groups=4))
    attention = randomize(SelfAttentionBlock(8, 4, 4))
    stage = ConditionedSequential([first, attention]).to(device)
    x, time_embedding, z_sem = image(2, device), torch.randn(3, 6).to(device), torch.randn(3, 5).to(device)
    assert torch.equal(stage(x, time_embedding, z_sem), attention(first(x, time_embedding, z_sem)))


def test_dropout_acts_in_training_only(device):
    block = randomize(ConditionedResidualBlock(2, 8, 8, 6, 5, 4, dropout=0.5)).to(device)
    inputs = image(2, device), torch.randn(3, 6).to(device), torch.randn(3, 5).to(device)
    assert not torch.allclose(block.train()(*inputs), block(*inputs))
    assert torch.equal(block.eval()(*inputs), block(*inputs))


def test_down_is_the_mean_of_two_by_two_and_up_repeats():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert resampling("down", 2)(x).tolist() == [[[[3.0]]]]
    assert resampling("up", 2)(x)[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 6, 6], [3, 3, 6, 6]]
    assert resampling(None, 2)(x) is x


def test_zero_init_returns_its_module_with_weight_and_bias_of_zero():
    linear = nn.Linear(3, 4)
    assert zero_init(linear) is linear
    assert all((parameter == 0).all() for parameter in (linear.weight, linear.bias))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: resampling("left", 2), "'down' or 'up', got 'left'"),
        (lambda: ResidualBlock(2, 8, 8, resample="left"), "'down' or 'up', got 'left'"),
    ],
    ids=["resample", "resample_of_a_block"],
)
def test_wrong_argument_is_an_error_that_says_what_was_given(build, message):
    with pytest.raises(ValueError, match=message):
        build()
