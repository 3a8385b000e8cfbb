# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import islice

import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, RandFlipd, RandGaussianNoised

from monai_diffae.data import EndlessSampler, RandDiffusionNoised, SeededDataset

TRANSFORM = [RandFlipd("image", prob=0.5, spatial_axis=0), RandGaussianNoised("image", prob=0.5)]


def make_dataset(seed: int = 3, count: int = 5) -> SeededDataset:
    images = torch.arange(count * 16.0).reshape(count, 1, 4, 4)
    data = [{"image": image, "index": i} for i, image in enumerate(images)]
    return SeededDataset(data, Compose([*TRANSFORM, RandDiffusionNoised("image", 1000)]), seed)


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(*map(torch.as_tensor, (first[k], second[k]))) for k in first
    )


def test_a_sample_is_a_function_of_seed_epoch_and_index():
    keys = [(epoch, index) for epoch in range(3) for index in range(5)]
    first = {key: make_dataset()[key] for key in keys}
    torch.manual_seed(99)
    dataset = make_dataset()
    assert all(equal(dataset[key], first[key]) for key in reversed(keys))
    noises = [first[key]["noise"] for key in keys] + [make_dataset(seed=4)[key]["noise"] for key in keys]
    assert len({tuple(noise.flatten().tolist()) for noise in noises}) == 30


def test_an_index_alone_means_epoch_zero():
    dataset = make_dataset()
    assert len(dataset) == 5
    assert equal(dataset[2], dataset[(0, 2)])
    assert not equal(dataset[2], dataset[(1, 2)])


def test_augmentation_differs_between_epochs_and_leaves_the_data_alone():
    dataset = make_dataset()
    images = [dataset[(epoch, 0)]["image"] for epoch in range(9)]
    flips = {bool(image[0, 0].mean() > image[0, -1].mean()) for image in images}
    assert flips == {True, False}
    torch.testing.assert_close(dataset.data[0]["image"], torch.arange(16.0).reshape(1, 4, 4), rtol=0, atol=0)
    assert set(dataset.data[0]) == {"image", "index"}


def load_batches(num_workers: int, start: int = 0, count: int = 8) -> list[dict]:
    dataset = make_dataset()
    sampler = EndlessSampler(len(dataset), seed=3)
    sampler.start = start
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=num_workers)
    return list(islice(iter(loader), count))


def test_batches_do_not_depend_on_the_number_of_workers():
    batches = load_batches(num_workers=0)
    assert sorted(torch.cat([batch["index"] for batch in batches])[:5].tolist()) == [0, 1, 2, 3, 4]
    for num_workers in (1, 2):
        assert all(map(equal, batches, load_batches(num_workers)))


def test_a_loader_that_is_resumed_within_an_epoch_gives_the_batches_that_were_left():
    assert all(map(equal, load_batches(num_workers=0)[3:], load_batches(num_workers=1, start=6, count=5)))


def test_each_epoch_of_the_sampler_is_a_permutation_of_its_own():
    keys = list(islice(EndlessSampler(7, seed=1), 35))
    orders = [keys[i : i + 7] for i in range(0, 35, 7)]
    for epoch, order in enumerate(orders):
        assert {e for e, _ in order} == {epoch}
        assert sorted(index for _, index in order) == list(range(7))
    assert len({tuple(index for _, index in order) for order in orders}) == 5


@pytest.mark.parametrize("start", [0, 1, 6, 7, 8, 20, 21])
def test_the_sampler_goes_on_from_any_place(start):
    keys = list(islice(EndlessSampler(7, seed=1), 40))
    assert list(islice(EndlessSampler(7, seed=1, start=start), 10)) == keys[start : start + 10]


def test_the_sampler_is_a_function_of_its_seed_and_can_be_iterated_again():
    sampler = EndlessSampler(20, seed=1)
    first = list(islice(sampler, 30))
    torch.manual_seed(99)
    assert list(islice(sampler, 30)) == first
    assert list(islice(EndlessSampler(20, seed=2), 30)) != first
    assert len(sampler) == 20


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="The data set is empty"):
        EndlessSampler(0, seed=1)


def draws(count: int, num_train_timesteps: int = 10, seed: int = 0) -> list[dict]:
    transform = RandDiffusionNoised("image", num_train_timesteps).set_random_state(seed=seed)
    image = torch.full((1, 3, 4), 7.0)
    return [transform({"image": image, "other": 1}) for _ in range(count)]


def test_noise_is_standard_normal_and_of_the_images_shape():
    samples = draws(800)
    noise = torch.stack([sample["noise"] for sample in samples])
    assert noise.shape == (800, 1, 3, 4)
    assert noise.dtype == torch.float32
    assert abs(noise.mean()) < 0.04
    assert abs(noise.std() - 1) < 0.04
    assert abs((noise.abs() > 1.96).float().mean() - 0.05) < 0.01
    correlation = torch.corrcoef(noise.flatten(1).T) - torch.eye(12)
    assert correlation.abs().max() < 0.15
    assert (samples[0]["image"] == 7).all()
    assert samples[0]["other"] == 1


def test_timesteps_are_integers_spread_evenly_over_all_levels():
    timesteps = torch.stack([sample["timesteps"] for sample in draws(2000)])
    assert timesteps.dtype == torch.int64
    assert timesteps.shape == (2000,)
    counts = torch.bincount(timesteps, minlength=10)
    assert len(counts) == 10
    assert counts.min() > 150
    assert counts.max() < 250


def test_noise_of_a_metatensor_is_plain():
    sample = RandDiffusionNoised("image", 10)({"image": MetaTensor(torch.zeros(1, 3, 4))})
    assert type(sample["noise"]) is torch.Tensor
    assert isinstance(sample["image"], MetaTensor)


def test_draws_are_a_function_of_the_random_state():
    assert all(map(equal, draws(3, seed=1), draws(3, seed=1)))
    assert not equal(draws(1, seed=1)[0], draws(1, seed=2)[0])


def test_noise_is_drawn_for_one_image_only():
    with pytest.raises(ValueError, match="keys must name one image"):
        RandDiffusionNoised(["image", "other"], 1000)


@pytest.mark.parametrize(("num_replicas", "start"), [(2, 0), (2, 8), (4, 12)])
def test_processes_share_the_samples_of_each_batch(num_replicas, start):
    batch, count = 4, 24
    whole = list(islice(EndlessSampler(7, seed=1, start=start), count))
    ranks = [EndlessSampler(7, seed=1, start=start, rank=r, num_replicas=num_replicas) for r in range(num_replicas)]
    shares = [list(islice(sampler, count // num_replicas)) for sampler in ranks]
    share = batch // num_replicas
    for k in range(count // batch):
        together = [key for keys in shares for key in keys[k * share : (k + 1) * share]]
        assert sorted(together) == sorted(whole[k * batch : (k + 1) * batch])


@pytest.mark.parametrize(("rank", "num_replicas"), [(2, 2), (-1, 2), (0, 0)])
def test_a_process_that_there_is_not_gets_no_samples(rank, num_replicas):
    with pytest.raises(ValueError, match=f"got {rank} of {num_replicas}"):
        EndlessSampler(7, seed=1, rank=rank, num_replicas=num_replicas)


def test_timesteps_are_drawn_as_often_as_their_weights_say():
    transform = RandDiffusionNoised("image", 4, timestep_weights=[0, 3, 1, 0])
    transform.set_random_state(seed=0)
    drawn = torch.stack([transform({"image": torch.zeros(1, 2, 2)})["timesteps"] for _ in range(2000)])
    counts = torch.bincount(drawn, minlength=4)
    assert counts[0] == counts[3] == 0
    assert counts[1] / counts[2] == pytest.approx(3, rel=0.15)
    assert drawn.dtype == torch.int64


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, -1], [1, float("nan"), 1], [0, 0, 0]])
def test_impossible_weights_of_timesteps_are_refused(weights):
    with pytest.raises(ValueError, match="timestep_weights must"):
        RandDiffusionNoised("image", 3, timestep_weights=weights)
