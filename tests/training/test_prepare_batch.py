# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.transforms import Compose

from monai_diffae.data import EndlessSampler, RandDiffusionNoised, SeededDataset
from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.training import SampledDiffusionPrepareBatch

TARGETS: dict[str, Callable] = {
    "epsilon": lambda image, noise, alpha_bar: noise,
    "sample": lambda image, noise, alpha_bar: image,
    "v_prediction": lambda image, noise, alpha_bar: alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * image,
}


def samples(count: int = 6, track_meta: bool = False) -> SeededDataset:
    images = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    data = [{"image": MetaTensor(image) if track_meta else image} for image in images]
    return SeededDataset(data, Compose([RandDiffusionNoised("image", 1000)]), seed=3)


def trainer_of(
    network, device: str, dataset, scheduler, optimizer, epoch_length: int, batch_size: int, decollate: bool = True
) -> SupervisedTrainer:
    sampler = EndlessSampler(len(dataset), seed=5)
    return SupervisedTrainer(
        device=torch.device(device),
        max_epochs=1,
        epoch_length=epoch_length,
        train_data_loader=DataLoader(dataset, batch_size=batch_size, sampler=sampler),
        network=network,
        optimizer=optimizer,
        loss_function=torch.nn.MSELoss(),
        inferer=DiffusionAutoencoderInferer(scheduler),
        prepare_batch=SampledDiffusionPrepareBatch(scheduler),
        decollate=decollate,
    )


@pytest.mark.parametrize("track_meta", [False, True], ids=["plain", "MetaTensor"])
@pytest.mark.parametrize("prediction_type", list(TARGETS))
def test_trainers_get_the_samples_noise_and_the_target_of_the_prediction_type(
    tiny_autoencoder, device, prediction_type, track_meta
):
    scheduler = InvertibleDDIMScheduler(prediction_type=prediction_type)
    dataset = samples(track_meta=track_meta)
    seen = []

    def watch(engine: SupervisedTrainer) -> None:
        seen.append({key: value.detach().clone() for key, value in engine.state.output.items()})

    optimizer = torch.optim.SGD(tiny_autoencoder.parameters(), lr=0.0)
    trainer = trainer_of(tiny_autoencoder, device, dataset, scheduler, optimizer, 3, batch_size=2, decollate=False)
    trainer.add_event_handler(IterationEvents.LOSS_COMPLETED, watch)
    trainer.run()

    order = [key for key, _ in zip(iter(EndlessSampler(len(dataset), seed=5)), range(6))]
    batches = [[dataset[key] for key in order[i : i + 2]] for i in (0, 2, 4)]
    assert len(seen) == 3
    for output, batch in zip(seen, batches):
        image, noise, timesteps = (
            torch.stack([torch.as_tensor(item[key]) for item in batch]).to(device)
            for key in ("image", "noise", "timesteps")
        )
        image = image.as_tensor() if isinstance(image, MetaTensor) else image
        alpha_bar = scheduler.alphas_cumprod.to(device)[timesteps].reshape(-1, 1, 1, 1).float()
        target = TARGETS[prediction_type](image, noise, alpha_bar)
        noised = alpha_bar.sqrt() * image + (1 - alpha_bar).sqrt() * noise
        with torch.no_grad():
            prediction = tiny_autoencoder(noised, timesteps, image=image)
        torch.testing.assert_close(torch.Tensor(output["image"]), image, rtol=0, atol=0)
        torch.testing.assert_close(torch.Tensor(output["label"]), target)
        torch.testing.assert_close(output["pred"], prediction, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(torch.Tensor(output["loss"]), (prediction - target).square().mean())


def test_training_lowers_the_loss(tiny_autoencoder, device):
    scheduler = InvertibleDDIMScheduler()
    dataset = samples()
    losses = []
    optimizer = torch.optim.Adam(tiny_autoencoder.parameters(), lr=5e-3)
    trainer = trainer_of(tiny_autoencoder, device, dataset, scheduler, optimizer, 30, batch_size=6)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output[0]["loss"]))
    )
    trainer.run()
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize("missing", ["image", "noise", "timesteps"])
def test_a_batch_without_one_of_the_keys_is_refused_by_its_name(missing):
    batch = {"image": torch.zeros(2, 1, 8, 8), "noise": torch.zeros(2, 1, 8, 8), "timesteps": torch.tensor([0, 9])}
    prepare_batch = SampledDiffusionPrepareBatch(InvertibleDDIMScheduler())
    assert prepare_batch(batch)[3]["timesteps"].tolist() == [0, 9]
    del batch[missing]
    with pytest.raises(KeyError, match=missing):
        prepare_batch(batch)


def test_images_and_noise_are_moved_as_asked_and_timesteps_stay_integers(device):
    batch = {"image": torch.ones(2, 1, 8, 8), "noise": torch.ones(2, 1, 8, 8), "timesteps": torch.tensor([0, 9])}
    prepare_batch = SampledDiffusionPrepareBatch(InvertibleDDIMScheduler(prediction_type="v_prediction"))
    images, target, args, kwargs = prepare_batch(batch, device, dtype=torch.float16)
    assert (images.dtype, target.dtype, kwargs["noise"].dtype) == (torch.float16,) * 3
    assert kwargs["timesteps"].dtype == torch.int64
    assert {x.device.type for x in (images, target, *kwargs.values())} == {torch.device(device).type}
    assert args == ()
