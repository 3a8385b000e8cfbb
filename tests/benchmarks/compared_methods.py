# SPDX-License-Identifier: Apache-2.0
"""What compare_monai_tutorial.py compares: networks of 6 million weights and how each is trained and run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.networks.nets import DiffusionModelUNet, ResNet
from recipe_study import build_network
from study_training import Recipe

from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.networks import CrossAttentionDecoder, DiffusionAutoencoder
from monai_diffae.schedulers import InvertibleDDIMScheduler

Z_DIM = 128
OURS = Recipe(optimizer="muon", learning_rate=2e-3, batch_size=32)  # of the MedNIST bundle
TUTORIAL = Recipe("epsilon", "adam", 1e-5, True, batch_size=12, ema_decay=None, max_grad_norm=None)


class NoCode(torch.nn.Module):
    """In place of the encoder: no image says anything, so that the decoder is an unconditional diffusion model."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.new_zeros(len(image), Z_DIM)


def tutorial_network() -> DiffusionAutoencoder:
    """Of MONAI's tutorial 2d_diffusion_autoencoder: ResNet18 and a UNet with cross-attention to tokens of width 1, with
    half of its channels (ResNet: 28 in place of 64), and 128 in place of 512 numbers in z_sem."""
    encoder = ResNet(
        "basic",
        layers=[2, 2, 2, 2],
        block_inplanes=[28, 56, 112, 224],
        spatial_dims=2,
        n_input_channels=1,
        conv1_t_size=7,
        conv1_t_stride=2,
        num_classes=Z_DIM,
        bias_downsample=False,
    )
    unet = DiffusionModelUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        channels=(32, 64, 128),
        attention_levels=(False, False, True),
        num_res_blocks=1,
        num_head_channels=[32, 64, 128],
        with_conditioning=True,
        cross_attention_dim=1,
    )
    return DiffusionAutoencoder(encoder, CrossAttentionDecoder(unet))


@dataclass(frozen=True)
class Method:
    """``range_01``: it sees images in [0, 1], and clips the predicted x_0 to [-1, 1] where x_T is drawn, as MONAI's
    scheduler does by default. All that goes in and comes out here is in [-1, 1]."""

    name: str
    recipe: Recipe
    range_01: bool = False

    def build(self, seed: int) -> DiffusionAutoencoder:
        torch.manual_seed(seed)
        if self.name.startswith("tutorial"):
            return tutorial_network()
        network = build_network("patch_4", Z_DIM)
        return DiffusionAutoencoder(NoCode(), network.decoder) if self.name == "unconditional" else network

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        """[-1, 1] to what the network works on."""
        return (images + 1) / 2 if self.range_01 else images

    def shown(self, images: torch.Tensor) -> torch.Tensor:
        """And back."""
        return images * 2 - 1 if self.range_01 else images

    def loops(self, steps: int, precision: str, exact: bool = False) -> DiffusionAutoencoderInferer:
        scheduler = InvertibleDDIMScheduler(
            prediction_type=self.recipe.prediction_type, clip_sample=self.range_01 and not exact
        )
        inversion = "exact" if exact else "explicit"
        return DiffusionAutoencoderInferer(
            scheduler, steps, inversion=inversion, precision=precision, verbose=False, batch_size=32
        )


METHODS = {
    method.name: method
    for method in (
        Method("ours", OURS),
        Method("unconditional", OURS),
        Method("tutorial", TUTORIAL, range_01=True),
        Method("tutorial_our_recipe", OURS),
    )
}
