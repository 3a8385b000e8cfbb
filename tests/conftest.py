# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import AutoencoderKL

from monai_diffae.datasets import generate_brain_slices
from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.networks import (
    Compression,
    DiffAEUNet,
    DiffusionAutoencoder,
    LatentSpaceAutoencoder,
    SemanticEncoder,
)
from monai_diffae.schedulers import InvertibleDDIMScheduler


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where networks run: cpu, cuda, cuda:1, mps")


def pytest_configure(config: pytest.Config) -> None:
    # Golden numbers are float32 numbers.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("--device")


@pytest.fixture(scope="session")
def generated_brains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects of the generator with 4 mm voxels, all with a lesion. Not to be changed."""
    folder = tmp_path_factory.mktemp("generated_brains")
    generate_brain_slices(folder, num_subjects=3, seed=7, spacing=4.0, lesion_fraction=1.0, lesions="balls")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def randomize(module: torch.nn.Module, seed: int = 0, scale: float = 0.05) -> torch.nn.Module:
    """Move every parameter off its start, so that zero-initialised branches take part."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator).to(parameter))
    return module


@pytest.fixture
def tiny_autoencoder(device: str) -> DiffusionAutoencoder:
    """2D, one channel, sides that are multiples of 4, z_dim 8; all branches take part. In evaluation mode."""
    torch.manual_seed(0)
    common = {"spatial_dims": 2, "in_channels": 1, "z_dim": 8, "channels": (8, 16, 16), "num_res_blocks": 1}
    common |= {"attention_levels": (False, False, True), "norm_num_groups": 4}
    network = DiffusionAutoencoder(SemanticEncoder(**common), DiffAEUNet(**common, out_channels=1))
    return randomize(network).eval().to(device)


def tiny_autoencoder_kl(spatial_dims: int = 2, **options) -> AutoencoderKL:
    """Of images with one channel to three, a quarter of the side; no attention."""
    torch.manual_seed(0)
    settings = {"channels": (4, 8, 8), "attention_levels": (False,) * 3, "latent_channels": 3, "norm_num_groups": 4}
    settings |= {"num_res_blocks": 1, "with_encoder_nonlocal_attn": False, "with_decoder_nonlocal_attn": False}
    return AutoencoderKL(spatial_dims=spatial_dims, in_channels=1, out_channels=1, **(settings | options))


LATENT_SPACE_SHAPES = {2: (16, 24), 3: (8, 16, 8)}


def tiny_latent_space_autoencoder(spatial_dims: int, encoder_input: str = "image", **decoder) -> LatentSpaceAutoencoder:
    """For images of ``LATENT_SPACE_SHAPES``."""
    torch.manual_seed(0)
    stage_1 = tiny_autoencoder_kl(spatial_dims, channels=(4, 8), attention_levels=(False, False))
    common = {"spatial_dims": spatial_dims, "z_dim": 8, "num_res_blocks": 1, "norm_num_groups": 4}
    common |= {"channels": (8, 8), "attention_levels": (False, False)}
    channels = 1 if encoder_input == "image" else 3
    autoencoder = DiffusionAutoencoder(
        SemanticEncoder(**common, in_channels=channels),
        DiffAEUNet(**(common | {"in_channels": 3, "out_channels": 3} | decoder)),
    )
    network = LatentSpaceAutoencoder(Compression(randomize(stage_1)), randomize(autoencoder), encoder_input)
    network.stage_1.fit_scale(network.to_latent(torch.randn(4, 1, *LATENT_SPACE_SHAPES[spatial_dims])))
    return network.eval()


@pytest.fixture
def loops() -> DiffusionAutoencoderInferer:
    """Of four steps, for networks of v."""
    return DiffusionAutoencoderInferer(InvertibleDDIMScheduler(prediction_type="v_prediction"), 4, verbose=False)


@pytest.fixture
def images(device: str) -> torch.Tensor:
    """For :func:`tiny_autoencoder`."""
    return torch.randn(3, 1, 8, 12, generator=torch.Generator().manual_seed(1)).clamp(-1, 1).to(device)


OFFICIAL = Path(__file__).parent / "data" / "official_small"
"""Files of the authors' code for a small network (tests/data/README.md)."""


@pytest.fixture(scope="session")
def golden(device: str) -> dict[str, torch.Tensor]:
    """What that network computed."""
    content = torch.load(OFFICIAL / "io.pt", weights_only=True)
    return {name: tensor.to(device) for name, tensor in content.items()}
