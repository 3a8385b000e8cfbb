# SPDX-License-Identifier: Apache-2.0
from .checks import network_spatial_size as network_spatial_size
from .compilation import compile_network as compile_network
from .compression import Compression as Compression
from .cross_attention_decoder import CrossAttentionDecoder as CrossAttentionDecoder
from .denoising_unet import DiffAEUNet as DiffAEUNet
from .diffusion_autoencoder import DiffusionAutoencoder as DiffusionAutoencoder
from .latent_denoiser import LatentDenoiser as LatentDenoiser
from .latent_space import LatentSpaceAutoencoder as LatentSpaceAutoencoder
from .semantic_encoder import SemanticEncoder as SemanticEncoder
