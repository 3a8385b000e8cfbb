# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
import torch.nn.functional as F
from arguments import ARGUMENTS, CASES
from conftest import randomize
from torch import nn
from torch.testing import assert_close

from monai_diffae.networks import SemanticEncoder
from monai_diffae.networks.attention import SelfAttentionBlock
from monai_diffae.networks.blocks import ResidualBlock


def encoder_of(device: str, **arguments) -> SemanticEncoder:
    """In evaluation mode, with zero-initialised branches moved off zero."""
    return randomize(SemanticEncoder(**{**ARGUMENTS, **arguments})).eval().to(device)


def images_for(encoder: SemanticEncoder, device: str, batch: int = 3) -> torch.Tensor:
    sides = (encoder.divisor * n for n in (1, 2, 3)[: encoder.spatial_dims])
    return torch.randn(batch, encoder.in_channels, *sides).to(device)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_image_becomes_a_code_and_every_parameter_a_gradient(case, batch, device):
    encoder = encoder_of(device, **CASES[case])
    z_sem = encoder(images_for(encoder, device, batch))
    assert z_sem.shape == (batch, 5)
    z_sem.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_levels_have_the_asked_blocks_attention_and_heads():
    encoder = SemanticEncoder(**{**ARGUMENTS, "num_res_blocks": (1, 2, 3), "num_head_channels": (4, 6, 8)})
    blocks = [module for module in encoder.modules() if isinstance(module, ResidualBlock)]
    widths = [(block.conv.in_channels, block.conv.out_channels) for block in blocks]
    levels = [(8, 8), (8, 8), (8, 12), (12, 12), (12, 12), (12, 16), (16, 16), (16, 16)]  # with 2 down-sampling blocks
    assert widths == [*levels, (16, 16), (16, 16)]  # and 2 blocks in the middle
    assert [isinstance(block.resample, nn.AvgPool2d) for block in blocks].count(True) == 2
    heads = [module.num_heads for module in encoder.modules() if isinstance(module, SelfAttentionBlock)]
    assert heads == [2, 2, 2]  # 12 / 6 twice, and 16 / 8 in the middle


def test_code_without_levels_is_the_plain_chain_of_its_parts(device):
    encoder = encoder_of(device, channels=(8,), attention_levels=(True,))
    x = torch.randn(3, 1, 5, 7).to(device)  # sides of any size
    (block, attention), middle = encoder.blocks
    h = middle[2](middle[1](middle[0](attention(block(encoder.conv_in(x))))))
    h = F.silu(F.group_norm(h, 4, encoder.norm_out.weight, encoder.norm_out.bias))
    assert_close(encoder(x), encoder.proj_out(h.mean(dim=(2, 3))), rtol=0, atol=1e-5)


def test_first_convolution_with_patches_is_space_to_depth_and_a_three_by_three_convolution(device):
    conv = encoder_of(device, in_channels=3, patch_size=2).conv_in
    x = torch.randn(2, 3, 8, 12).to(device)
    weight = conv.weight.reshape(8, 3, 3, 2, 3, 2).permute(0, 1, 3, 5, 2, 4).reshape(8, 12, 3, 3)
    assert_close(conv(x), F.conv2d(F.pixel_unshuffle(x, 2), weight, conv.bias, padding=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_code_of_an_image_does_not_depend_on_its_batch(case, device):
    encoder = encoder_of(device, **CASES[case])
    images = images_for(encoder, device, batch=5)
    with torch.no_grad():
        assert_close(torch.cat([encoder(image[None]) for image in images]), encoder(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_encoder_gives_the_same_code(case, device, tmp_path):
    encoder = encoder_of(device, **CASES[case])
    images = images_for(encoder, device)
    torch.jit.script(encoder).save(tmp_path / "encoder.ts")
    scripted = torch.jit.load(tmp_path / "encoder.ts", map_location=device)
    with torch.no_grad():
        assert_close(scripted(images), encoder(images), rtol=0, atol=1e-6)


def test_bfloat16_autocast_stays_near_float32(device):
    encoder = encoder_of(device)
    images = images_for(encoder, device)
    with torch.no_grad():
        expected = encoder(images)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            z_sem = encoder(images)
    assert z_sem.dtype == torch.bfloat16
    assert_close(z_sem.float(), expected, rtol=0, atol=0.05 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 2, 8, 8), r"\(batch, 1, and 2 spatial sizes\), got \[1, 2, 8, 8\]"),
        ((1, 8, 8), r"\(batch, 1, and 2 spatial sizes\), got \[1, 8, 8\]"),
        ((1, 1, 8, 8, 8), r"\(batch, 1, and 2 spatial sizes\), got \[1, 1, 8, 8, 8\]"),
        ((1, 1, 8, 6), r"multiple of 4 .* got \[8, 6\]"),
    ],
    ids=["channels", "no_batch", "spatial_dims", "sides"],
)
def test_image_of_another_shape_is_an_error_that_names_both_shapes(shape, message, device):
    with pytest.raises(ValueError, match=message):
        encoder_of(device)(torch.zeros(shape, device=device))
