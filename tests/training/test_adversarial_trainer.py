# SPDX-License-Identifier: Apache-2.0
"""MONAI's AdversarialTrainer with a diffusion autoencoder as its generator."""

from __future__ import annotations

import copy
from pathlib import Path

import ignite
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader
from monai.engines import SupervisedTrainer
from monai.losses import PatchAdversarialLoss
from monai.networks.nets import PatchDiscriminator
from monai.transforms import Compose

from monai_diffae.data import EndlessSampler, RandDiffusionNoised, SeededDataset
from monai_diffae.inferers import DiffusionAutoencoderInferer, DiscriminatorInferer, PredictedImageInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.training import (
    DiffusionAdversarialTrainer,
    GradientClippingHandler,
    GradientNormRecorder,
    PredictedImageLoss,
    PredictedImagePrepareBatch,
    SampledDiffusionPrepareBatch,
    resume_training,
    run_to_end,
)

SCHEDULER = InvertibleDDIMScheduler(prediction_type="v_prediction")
INFERER = DiffusionAutoencoderInferer(SCHEDULER)
ADVERSARIAL_LOSS = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)


@pytest.fixture(autouse=True)
def _deterministic(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


class Run:
    """Four images of 16 x 16; SGD for the generator, so that steps show gradients."""

    def __init__(
        self, network, device: str, weight: float | None, max_epochs: int = 1, max_norm: float = 1e9, **options
    ) -> None:
        """``weight``: of both additions to the loss; None for MONAI's SupervisedTrainer and the plain noise loss."""
        self.network = copy.deepcopy(network)
        self.sampler = EndlessSampler(4, seed=3)
        data = [{"image": x} for x in torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))]
        dataset = SeededDataset(data, Compose([RandDiffusionNoised("image", 1000)]), seed=3)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1)
        common = {
            "device": torch.device(device),
            "max_epochs": max_epochs,
            "epoch_length": 2,
            "train_data_loader": DataLoader(dataset, batch_size=4, sampler=self.sampler),
            "train_handlers": [GradientNormRecorder(self.network.encoder), GradientClippingHandler(max_norm)],
        }
        if weight is None:
            self.trainer = SupervisedTrainer(
                **common,
                network=self.network,
                optimizer=self.optimizer,
                loss_function=torch.nn.MSELoss(),
                inferer=INFERER,
                prepare_batch=SampledDiffusionPrepareBatch(SCHEDULER),
            )
        else:
            self.trainer = self._adversarial_trainer(common, weight, device, **options)
        self.outputs: list[dict] = []
        self.trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: self.outputs.append(engine.state.output[0])
        )

    def _adversarial_trainer(self, common: dict, weight: float, device: str, **options) -> DiffusionAdversarialTrainer:
        torch.manual_seed(5)
        self.discriminator = PatchDiscriminator(
            spatial_dims=2, in_channels=1, channels=4, num_layers_d=1, norm=("GROUP", {"num_groups": 4})
        ).to(device)
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=1e-3)
        return DiffusionAdversarialTrainer(
            **common,
            g_network=self.network,
            g_optimizer=self.optimizer,
            g_inferer=PredictedImageInferer(
                DiffusionAutoencoderInferer(SCHEDULER, precision=options.get("precision", "float32"))
            ),
            g_loss_function=lambda fake: weight * ADVERSARIAL_LOSS(fake, True, False),
            recon_loss_function=PredictedImageLoss(SCHEDULER, reconstruction_weight=weight),
            d_network=self.discriminator,
            d_optimizer=self.d_optimizer,
            d_inferer=DiscriminatorInferer(),
            d_loss_function=lambda real, fake: ADVERSARIAL_LOSS(real, True, True) + ADVERSARIAL_LOSS(fake, False, True),
            prepare_batch=PredictedImagePrepareBatch(SCHEDULER),
            **options,
        )


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()]).clone()


def moved(run: Run, network: torch.nn.Module) -> torch.Tensor:
    run.trainer.run()
    return weights(run.network) - weights(network)


def test_with_both_weights_at_0_the_generator_trains_as_without_a_discriminator(tiny_autoencoder, device):
    plain, adversarial = (Run(tiny_autoencoder, device, weight=weight) for weight in (None, 0.0))
    start = weights(adversarial.discriminator)
    expected, actual = (moved(run, tiny_autoencoder) for run in (plain, adversarial))
    assert expected.norm() > 0
    assert (actual - expected).norm() < 1e-3 * expected.norm()
    losses = [[float(output["loss"]) for output in run.outputs] for run in (plain, adversarial)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert not torch.equal(weights(adversarial.discriminator), start)
    norms = [run.trainer.state.metrics["encoder_grad_norm"] for run in (plain, adversarial)]
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)


def test_with_weights_the_generator_goes_another_way(tiny_autoencoder, device):
    plain, adversarial = (
        moved(Run(tiny_autoencoder, device, weight=weight), tiny_autoencoder) for weight in (0.0, 1.0)
    )
    assert (adversarial - plain).norm() > 0.01 * plain.norm()


def test_gradients_of_the_generator_are_clipped(tiny_autoencoder, device):
    step = moved(Run(tiny_autoencoder, device, weight=1.0, max_norm=1e-3), tiny_autoencoder)
    assert 0 < step.norm() <= 2 * 0.1 * 1e-3 * 1.01  # two steps with learning rate 0.1


def test_the_output_has_the_sum_of_the_generators_losses(tiny_autoencoder, device):
    run = Run(tiny_autoencoder, device, weight=1.0)
    run.trainer.run()
    for output in run.outputs:
        total = output["reconstruction_loss"] + output["generator_loss"]
        assert float(output["loss"]) == pytest.approx(float(total))
        assert output["pred"].shape == (1, 16, 16)


def go(network, device: str, folder: Path, max_epochs: int) -> Run:
    run = Run(network, device, weight=1.0, max_epochs=max_epochs)
    state = {"network": run.network, "optimizer": run.optimizer}
    state |= {"discriminator": run.discriminator, "d_optimizer": run.d_optimizer}
    saver = ignite.handlers.DiskSaver(str(folder), require_empty=False)
    checkpoint = ignite.handlers.Checkpoint(state | {"trainer": run.trainer}, saver, n_saved=2)
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, checkpoint)
    run.sampler.start = 4 * resume_training(folder, state, run.trainer)
    run_to_end(run.trainer)
    return run


def test_a_resumed_run_equals_an_uninterrupted_one_bit_by_bit(tiny_autoencoder, device, tmp_path):
    straight = go(tiny_autoencoder, device, tmp_path / "straight", max_epochs=2)
    go(tiny_autoencoder, device, tmp_path / "resumed", max_epochs=1)
    second = go(tiny_autoencoder, device, tmp_path / "resumed", max_epochs=2)
    assert len(second.outputs) == 2
    assert torch.equal(weights(second.network), weights(straight.network))
    assert torch.equal(weights(second.discriminator), weights(straight.discriminator))
    saved = torch.load(tmp_path / "resumed" / "checkpoint_4.pt", weights_only=True)
    assert saved["trainer"]["iteration"] == 4


@pytest.mark.filterwarnings("ignore:.*GradScaler")
def test_the_generator_is_trained_in_float16_and_the_discriminator_in_float32(tiny_autoencoder, device):
    runs = [Run(tiny_autoencoder, device, weight=1.0, precision=precision) for precision in ("float32", "float16")]
    scaler = runs[1].trainer.scaler
    assert runs[1].trainer.scalers == {"scaler": scaler}
    scaler.load_state_dict(scaler.state_dict() | {"scale": 256.0})  # at which no step is left out
    types = set()
    for part in (runs[1].network.decoder.conv_in, runs[1].discriminator.initial_conv):
        part.register_forward_hook(lambda _, __, output: types.add(output.dtype))
    full, lower = (moved(run, tiny_autoencoder) for run in runs)
    assert types == {torch.float16, torch.float32}
    assert 0 < (lower - full).norm() < 0.05 * full.norm()
    norms = [run.trainer.state.metrics["encoder_grad_norm"] for run in runs]
    assert norms[1] == pytest.approx(norms[0], rel=0.05)
    assert scaler.get_scale() == 256


def test_amp_is_refused(tiny_autoencoder, device):
    run = Run(tiny_autoencoder, device, weight=None)
    common = {"device": torch.device(device), "max_epochs": 1, "train_data_loader": run.trainer.data_loader}
    with pytest.raises(ValueError, match="amp must be False"):
        run._adversarial_trainer(common, 1.0, device, amp=True)


def test_accumulation_is_refused(tiny_autoencoder, device):
    with pytest.raises(ValueError, match="accumulation_steps must be 1, got 2"):
        Run(tiny_autoencoder, device, weight=1.0, accumulation_steps=2)
