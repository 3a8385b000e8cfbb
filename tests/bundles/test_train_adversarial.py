# SPDX-License-Identifier: Apache-2.0
"""The overlay train_adversarial.yaml of both bundles: both networks train, and the rest is as in train.yaml."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image
from skimage.data import lfw_subset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

BUNDLES = Path(__file__).parents[2] / "bundles"
NAMES = ("natural_images_diffae", "brain_slices_diffae")
LOSSES = {"train_loss", "reconstruction_loss", "generator_loss", "discriminator_loss"}
SMALL = {"batch_size": 2, "num_workers": 0, "num_inference_steps": 2, "num_inversion_steps": 2}
SMALL |= {"epoch_length": 1, "val_interval": 2}


@pytest.fixture(scope="module", params=NAMES)
def case(request, tmp_path_factory, generated_brains) -> tuple[Path, dict]:
    """A bundle, and options with data that it can read."""
    folder = tmp_path_factory.mktemp("data")
    if request.param == "natural_images_diffae":
        for i, pixels in enumerate((255 * lfw_subset()[:4]).astype(np.uint8)):
            Image.fromarray(pixels).save(folder / f"{i}.png")
        options = {"val_fraction": 0.5}
    else:
        folder = generated_brains
        options = {"num_slices": 3, "val_num_slices": 1}
    return BUNDLES / request.param, SMALL | options | {"dataset_dir": str(folder)}


def prepare(case: tuple[Path, dict], output_dir: Path, max_iterations: int, **overrides) -> ConfigWorkflow:
    bundle, options = case
    workflow = ConfigWorkflow(
        [str(bundle / "configs" / f"{name}.yaml") for name in ("train", "train_adversarial")],
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        bundle_root=str(bundle),
        output_dir=str(output_dir),
        max_iterations=max_iterations,
        **options,
        **overrides,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    return workflow


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in network.parameters()])


def read_rows(file: Path) -> list[dict]:
    with open(file, newline="") as f:
        return list(csv.DictReader(f))


def test_both_networks_train_and_a_run_goes_on_where_it_stopped(case, tmp_path):
    first = prepare(case, tmp_path, max_iterations=2)
    networks = {"network": first.network_def, "discriminator": first.parser.get_parsed_content("train::discriminator")}
    before = {name: weights(network) for name, network in networks.items()}
    first.run()
    for name, network in networks.items():
        assert not torch.equal(weights(network), before[name]), name
    checkpoint = torch.load(tmp_path / "checkpoints" / "checkpoint_2.pt", weights_only=True)
    states = {"network", "ema", "optimizer", "discriminator", "discriminator_optimizer"}
    assert set(checkpoint) == {*states, "trainer"}
    assert set(checkpoint["trainer"]) == {"iteration", "epoch_length", "max_epochs"}

    second = prepare(case, tmp_path, max_iterations=3)
    assert second.trainer.state.iteration == 2
    resumed = second.parser.get_parsed_content("train::discriminator")
    assert torch.equal(weights(resumed), weights(networks["discriminator"]))
    second.run()
    assert not torch.equal(weights(resumed), weights(networks["discriminator"]))

    rows = read_rows(tmp_path / "training_log.csv")
    assert [row["iteration"] for row in rows] == ["1", "2", "3"]
    for row in rows:
        assert all(math.isfinite(float(row[name])) for name in LOSSES)
        total = float(row["reconstruction_loss"]) + float(row["generator_loss"])
        assert float(row["train_loss"]) == pytest.approx(total, abs=1e-5)
    for name in ("val_psnr", "val_ssim", "val_noise_loss", "val_noise_semantic_gap"):
        assert math.isfinite(float(rows[1][name]))
    assert float(rows[2]["encoder_grad_norm"]) > 0
    curves = set()
    for file in tmp_path.glob("events.out.tfevents*"):
        events = EventAccumulator(str(file))
        events.Reload()
        curves |= set(events.Tags()["scalars"])
    assert LOSSES | {"encoder_grad_norm", "semantic_gap", "psnr"} <= curves

    # The weights to use are those of the generator's moving average, and fit the bundle's network.
    shipped = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    second.network_def.load_state_dict(shipped)
    average = torch.load(tmp_path / "checkpoints" / "checkpoint_3.pt", weights_only=True)["ema"]
    torch.testing.assert_close(shipped, average, rtol=0, atol=0)


def test_weights_are_those_of_the_config(case, tmp_path):
    workflow = prepare(case, tmp_path, 1, adversarial_weight=0.5, reconstruction_weight=0.25)
    state = workflow.trainer.state
    fake = torch.full((2, 1, 3, 3), 0.2)
    assert float(state.g_loss_function(fake)) == pytest.approx(0.5 * 0.8**2)
    assert float(state.d_loss_function(fake, fake)) == pytest.approx((0.8**2 + 0.2**2) / 2)
    assert state.recon_loss_function.reconstruction_weight == 0.25
