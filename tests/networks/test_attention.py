# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from conftest import randomize
from torch.testing import assert_close

from monai_diffae.networks.attention import SelfAttentionBlock, attention


def image(spatial_dims: int, device: str, channels: int = 8, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, channels, *(4, 6, 8)[:spatial_dims]).to(device)


@pytest.mark.parametrize("num_head_channels", [None, 4])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_attention_starts_as_the_identity(spatial_dims, num_head_channels, device):
    x = image(spatial_dims, device)
    assert torch.equal(SelfAttentionBlock(8, num_head_channels, 4).to(device)(x), x)


@pytest.mark.parametrize("num_head_channels", [None, 8, 4, 1])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_attention_is_the_softmax_of_each_head_with_heads_split_before_query_key_and_value(
    spatial_dims, num_head_channels, device
):
    width = num_head_channels or 8
    block = randomize(SelfAttentionBlock(8, num_head_channels, 4)).to(device)
    assert block.num_heads == 8 // width
    x = image(spatial_dims, device)
    qkv = block.qkv(block.norm(x).flatten(2).transpose(1, 2))  # (B, L, 24)
    heads = []
    for head in range(8 // width):
        q, k, v = (qkv[:, :, (3 * head + part) * width :][:, :, :width] for part in range(3))
        attention = torch.softmax(q @ k.transpose(1, 2) / width**0.5, dim=-1)
        heads.append(attention @ v)
    expected = x + block.proj(torch.cat(heads, dim=-1)).transpose(1, 2).reshape(x.shape)
    assert_close(block(x), expected, rtol=0, atol=1e-5)


def test_attention_moves_with_its_positions(device):
    block = randomize(SelfAttentionBlock(8, 4, 4)).to(device)
    x = image(2, device)
    assert_close(block(x.flip(2).transpose(2, 3)), block(x).flip(2).transpose(2, 3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("positions", [64, 1024, 1100], ids=["few", "just_few", "many"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_attention_is_pytorchs_to_rounding_in_every_precision(dtype, positions, device):
    q, k, v = (torch.randn(2, 3, positions, 16).to(device, dtype) for _ in range(3))
    rounding = {torch.float32: 1e-5, torch.bfloat16: 0.03, torch.float16: 4e-3}[dtype]
    expected = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    found = attention(q, k, v)
    assert found.dtype == dtype
    assert_close(found.double(), expected, rtol=0, atol=rounding)


def test_scores_in_bfloat16_cost_about_twice_the_error_of_pytorchs_kernel(device):
    q, k, v = (3 * torch.randn(4, 1, 256, 64) for _ in range(3))
    expected = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    low = [part.to(device, torch.bfloat16) for part in (q, k, v)]
    ours = (attention(*low).cpu().double() - expected).square().mean().sqrt()
    theirs = (F.scaled_dot_product_attention(*low).cpu().double() - expected).square().mean().sqrt()
    assert ours < 2.5 * theirs


@pytest.mark.parametrize("num_head_channels", [3, 0], ids=["heads_do_not_divide", "heads_of_no_channel"])
def test_heads_that_do_not_fit_are_refused(num_head_channels):
    with pytest.raises(ValueError, match=f"got 8 channels and num_head_channels {num_head_channels}"):
        SelfAttentionBlock(8, num_head_channels)
