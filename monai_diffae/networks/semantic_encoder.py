# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch.utils.checkpoint import checkpoint

from monai_diffae.networks.attention import SelfAttentionBlock
from monai_diffae.networks.blocks import ResidualBlock
from monai_diffae.networks.checks import check_image, check_levels, check_sizes
from monai_diffae.networks.group_norm import group_norm

__all__ = ["SemanticEncoder"]


class SemanticEncoder(nn.Module):
    """Maps a clean image x_0 to its semantic code: ``z_sem = Enc(x_0)``, ``(B, C, *spatial) -> (B, z_dim)``.

    The down-sampling half of the UNet without timestep, then global average pooling and a linear map. Scriptable.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 3.2 and Table 4.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels C of the image.
        z_dim: length of z_sem.
        channels: channels of each level; the feature map is halved between levels. The paper uses the UNet's
            channels and one level more.
        attention_levels: for each level, whether its blocks are followed by self-attention.
        num_res_blocks: residual blocks of each level, one number or one a level.
        num_head_channels: channels of an attention head, one number or one a level; ``None`` for a single head.
        norm_num_groups: groups of the normalisation (levels with fewer channels use one group a channel).
        patch_size: side of the image patches that the first convolution merges into one position (1: none). Its
            kernel spans three patches, which equals a space-to-depth and a 3x3 convolution.
        use_checkpoint: trade time for memory in training by gradient checkpointing.

    Raises:
        ValueError: for arguments that do not fit each other, and in ``forward`` for images of another shape.

    Example:
        >>> encoder = SemanticEncoder(
        ...     spatial_dims=2, in_channels=1, z_dim=64, channels=(32, 64, 64), attention_levels=(False, False, True)
        ... )
        >>> encoder(torch.zeros(3, 1, 32, 32)).shape
        torch.Size([3, 64])
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        z_dim: int,
        channels: Sequence[int],
        attention_levels: Sequence[bool],
        num_res_blocks: int | Sequence[int] = 2,
        num_head_channels: int | Sequence[int] | None = None,
        norm_num_groups: int = 32,
        patch_size: int = 1,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "z_dim": z_dim, "channels": channels, "patch_size": patch_size}
        check_sizes(spatial_dims, **sizes, num_res_blocks=num_res_blocks, norm_num_groups=norm_num_groups)
        num_levels = len(channels)
        attention, res_blocks, head_channels = check_levels(
            channels, attention_levels, num_res_blocks, num_head_channels
        )
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.z_dim = z_dim
        self.divisor = patch_size * 2 ** (num_levels - 1)
        self.use_checkpoint = use_checkpoint

        self.conv_in = Conv[Conv.CONV, spatial_dims](
            in_channels, channels[0], kernel_size=3 * patch_size, stride=patch_size, padding=patch_size
        )
        blocks: list[nn.Module] = []
        width = channels[0]
        for level in range(num_levels):
            for _ in range(res_blocks[level]):
                stage: list[nn.Module] = [ResidualBlock(spatial_dims, width, channels[level], norm_num_groups)]
                width = channels[level]
                if attention[level]:
                    stage.append(SelfAttentionBlock(width, head_channels[level], norm_num_groups))
                blocks.append(nn.Sequential(*stage))
            if level < num_levels - 1:
                blocks.append(ResidualBlock(spatial_dims, width, width, norm_num_groups, resample="down"))
        blocks.append(
            nn.Sequential(
                ResidualBlock(spatial_dims, width, width, norm_num_groups),
                SelfAttentionBlock(width, head_channels[-1], norm_num_groups),
                ResidualBlock(spatial_dims, width, width, norm_num_groups),
            )
        )
        self.blocks = nn.ModuleList(blocks)
        self.norm_out = group_norm(norm_num_groups, width)
        self.proj_out = nn.Linear(width, z_dim)

    @torch.jit.unused
    def _checkpointed(self, h):  # TorchScript cannot read annotations that are strings
        for block in self.blocks:
            h = checkpoint(block, h, use_reentrant=False)
        return h

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: clean images, shape ``(B, in_channels, *spatial)``, values in [-1, 1], every spatial size a multiple of
                ``patch_size * 2 ** (len(channels) - 1)``.

        Returns:
            z_sem, shape ``(B, z_dim)``.
        """
        check_image(x, self.spatial_dims, self.in_channels, self.divisor)
        h = self.conv_in(x)
        if self.use_checkpoint and self.training:
            h = self._checkpointed(h)
        else:
            for block in self.blocks:
                h = block(h)
        h = F.silu(self.norm_out(h)).flatten(2).mean(dim=2)  # (B, channels[-1])
        return self.proj_out(h)
