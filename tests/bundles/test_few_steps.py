# SPDX-License-Identifier: Apache-2.0
"""What 20 evaluations of the shipped networks are worth by the scheduler of sample.yaml."""

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_diffae.checkpoints import load_weights
from monai_diffae.inferers import DiffusionAutoencoderInferer

BUNDLES = Path(__file__).parents[2] / "bundles"


def decoded(config: ConfigParser, network: torch.nn.Module, scheduler: torch.nn.Module, steps: int) -> torch.Tensor:
    """Images of random codes."""
    size = config["image_size"]
    x_T = torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z_sem = network.encode(x_T.clamp(-1, 1))
    return DiffusionAutoencoderInferer(scheduler, steps, verbose=False).decode(z_sem, x_T, network)


@pytest.mark.parametrize("bundle", ["natural_images_diffae", "brain_slices_diffae"])
def test_sampling_with_20_evaluations_comes_closer_to_many_than_ddim_with_50(bundle):
    config = ConfigParser()
    config.read_config([BUNDLES / bundle / "configs" / f"{name}.yaml" for name in ("inference", "sample")])
    path = BUNDLES / bundle / "models" / "model.pt"
    network = load_weights(config.get_parsed_content("network_def"), path).eval()
    second, ddim = (config.get_parsed_content(name) for name in ("decoding_scheduler", "scheduler"))
    many = decoded(config, network, second, 100)
    few = (decoded(config, network, second, 20) - many).square().mean()
    assert few < 0.5 * (decoded(config, network, ddim, 50) - many).square().mean()
    assert few < (decoded(config, network, ddim, 20) - many).square().mean() / 8
