# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.networks.layers.factories import Conv
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding
from monai.networks.utils import pixelshuffle
from torch.utils.checkpoint import checkpoint

from monai_diffae.networks.attention import SelfAttentionBlock
from monai_diffae.networks.blocks import ConditionedResidualBlock, ConditionedSequential, zero_init
from monai_diffae.networks.checks import check_image, check_levels, check_sizes
from monai_diffae.networks.group_norm import group_norm

__all__ = ["DiffAEUNet"]


class DiffAEUNet(nn.Module):
    """The conditional denoiser: predicts the noise in x_t, ``eps(x_t, t, z_sem)`` (or v, or x_0, as it is trained).

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 3.1 and Table 4.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of x_t.
        out_channels: channels of the prediction.
        z_dim: length of z_sem.
        channels: channels of each level; the feature map is halved between levels.
        attention_levels: for each level, whether its blocks are followed by self-attention. The middle always has it.
        num_res_blocks: residual blocks of each level on the way down, one number or one a level; the way up has one
            more.
        num_head_channels: channels of an attention head, one number or one a level; ``None`` for a single head.
        norm_num_groups: groups of the normalisation (levels with fewer channels use one group a channel).
        time_channels: length of the sinusoidal timestep embedding; ``channels[0]`` if ``None``.
        time_embed_dim: length of the learned timestep embedding; 4 times ``channels[0]`` if ``None``.
        dropout: dropout probability in the residual blocks.
        patch_size: side of the image patches that are denoised as one position (1: none): the first convolution spans
            three patches with the stride of one, the last writes a patch a position (depth-to-space).
        use_checkpoint: trade time for memory in training by gradient checkpointing.

    Raises:
        ValueError: for arguments that do not fit each other, and in ``forward`` for inputs of another shape.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        z_dim: int,
        channels: Sequence[int],
        attention_levels: Sequence[bool],
        num_res_blocks: int | Sequence[int] = 2,
        num_head_channels: int | Sequence[int] | None = None,
        norm_num_groups: int = 32,
        time_channels: int | None = None,
        time_embed_dim: int | None = None,
        dropout: float = 0.0,
        patch_size: int = 1,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "z_dim": z_dim, "channels": channels}
        sizes |= {"num_res_blocks": num_res_blocks, "norm_num_groups": norm_num_groups, "patch_size": patch_size}
        check_sizes(spatial_dims, **sizes)
        num_levels = len(channels)
        attention, res_blocks, head_channels = check_levels(
            channels, attention_levels, num_res_blocks, num_head_channels
        )
        time_embed_dim = 4 * channels[0] if time_embed_dim is None else time_embed_dim
        conv = Conv[Conv.CONV, spatial_dims]
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.z_dim = z_dim
        self.time_channels = channels[0] if time_channels is None else time_channels
        self.patch_size = patch_size
        self.divisor = patch_size * 2 ** (num_levels - 1)
        self.use_checkpoint = use_checkpoint

        def residual(width_in: int, width_out: int, resample: str | None = None) -> ConditionedResidualBlock:
            return ConditionedResidualBlock(
                spatial_dims, width_in, width_out, time_embed_dim, z_dim, norm_num_groups, resample, dropout
            )

        def self_attention(level: int) -> SelfAttentionBlock:
            return SelfAttentionBlock(channels[level], head_channels[level], norm_num_groups)

        self.time_embed = nn.Sequential(
            nn.Linear(self.time_channels, time_embed_dim), nn.SiLU(), nn.Linear(time_embed_dim, time_embed_dim)
        )
        self.conv_in = conv(in_channels, channels[0], kernel_size=3 * patch_size, stride=patch_size, padding=patch_size)

        # Way down: the output of the first convolution and of every block is a skip connection.
        self.down_blocks = nn.ModuleList()
        width = channels[0]
        skips = [width]
        for level in range(num_levels):
            for _ in range(res_blocks[level]):
                stage: list[nn.Module] = [residual(width, channels[level])]
                width = channels[level]
                if attention[level]:
                    stage.append(self_attention(level))
                self.down_blocks.append(ConditionedSequential(stage))
                skips.append(width)
            if level < num_levels - 1:
                self.down_blocks.append(ConditionedSequential([residual(width, width, "down")]))
                skips.append(width)

        self.middle_block = ConditionedSequential([residual(width, width), self_attention(-1), residual(width, width)])

        # Way up: every block takes one skip connection, last in first out.
        self.up_blocks = nn.ModuleList()
        for level in reversed(range(num_levels)):
            for i in range(res_blocks[level] + 1):
                stage = [residual(width + skips.pop(), channels[level])]
                width = channels[level]
                if attention[level]:
                    stage.append(self_attention(level))
                if level > 0 and i == res_blocks[level]:
                    stage.append(residual(width, width, "up"))
                self.up_blocks.append(ConditionedSequential(stage))

        self.out = nn.Sequential(
            group_norm(norm_num_groups, width),
            nn.SiLU(),
            zero_init(conv(width, out_channels * patch_size**spatial_dims, kernel_size=3, padding=1)),
        )

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: noised images x_t, shape ``(B, in_channels, *spatial)``, every spatial size a multiple of
                ``patch_size * 2 ** (len(channels) - 1)``.
            timesteps: shape ``(B,)`` or ``(1,)``, integers or floats in [0, num_train_timesteps).
            context: z_sem, shape ``(B, z_dim)``.

        Returns:
            The prediction, shape ``(B, out_channels, *spatial)``.
        """
        check_image(x, self.spatial_dims, self.in_channels, self.divisor)
        if context.shape != (x.shape[0], self.z_dim):
            raise ValueError(f"context must be z_sem of shape {(x.shape[0], self.z_dim)}, got {tuple(context.shape)}.")
        if timesteps.shape not in ((1,), (x.shape[0],)):
            raise ValueError(f"timesteps must have shape (1,) or ({x.shape[0]},), got {tuple(timesteps.shape)}.")

        embedding = get_timestep_embedding(timesteps.to(x.device), self.time_channels)
        embedding = self.time_embed(embedding.to(self.time_embed[0].weight.dtype))  # (B or 1, time_embed_dim)
        h = self.conv_in(x)
        skips = [h]
        for block in self.down_blocks:
            h = self._run(block, h, embedding, context)
            skips.append(h)
        h = self._run(self.middle_block, h, embedding, context)
        for block in self.up_blocks:
            h = self._run(block, torch.cat([h, skips.pop()], dim=1), embedding, context)
        h = self.out(h)
        return h if self.patch_size == 1 else pixelshuffle(h, self.spatial_dims, self.patch_size)

    def _run(self, block: nn.Module, h: torch.Tensor, embedding: torch.Tensor, z_sem: torch.Tensor) -> torch.Tensor:
        if self.use_checkpoint and self.training:
            return checkpoint(block, h, embedding, z_sem, use_reentrant=False)
        return block(h, embedding, z_sem)
