# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from itertools import islice

import pytest
import torch
from monai.data import Dataset
from monai.transforms import Compose, ThresholdIntensityd
from torch.utils.data import DataLoader

from monai_diffae.data import SampleIndices, VolumeSlices, encode_dataset, encode_once, encoding_fingerprint
from monai_diffae.training import LatentBatches


class Counting(Dataset):
    """Counts what is asked for, and fails at ``broken``."""

    def __init__(self, data, broken: int | None = None):
        super().__init__(data)
        self.asked, self.broken = 0, broken

    def __getitem__(self, index):
        if index == self.broken:
            raise KeyboardInterrupt
        self.asked += 1
        return super().__getitem__(index)


@pytest.fixture
def items() -> list[dict]:
    images = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return [{"image": image, "volume": i // 3, "label": float(i % 2)} for i, image in enumerate(images)]


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_all_items_are_encoded_in_order_whatever_the_batch(tiny_autoencoder, items, device, batch_size):
    tiny_autoencoder.train()
    result = encode_dataset(Dataset(items), tiny_autoencoder, batch_size, device, keys=["label"])
    assert tiny_autoencoder.training
    images = torch.stack([item["image"] for item in items]).to(device)
    with torch.no_grad():
        expected = tiny_autoencoder.eval().encode(images).cpu()
    torch.testing.assert_close(result["z_sem"], expected, rtol=1e-4, atol=1e-5)
    assert result["source"].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert result["label"].tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_without_volumes_the_source_is_the_index(tiny_autoencoder, items, device):
    data = [{"image": item["image"]} for item in items]
    result = encode_dataset(Dataset(data), tiny_autoencoder, 2, device)
    assert result["source"].tolist() == list(range(7))
    assert set(result) == {"z_sem", "source"}


def test_codes_that_are_not_finite_are_refused_by_their_image_and_not_kept(tiny_autoencoder, items, device, tmp_path):
    broken = [item | {"image": item["image"] * (torch.nan if k == 4 else 1)} for k, item in enumerate(items)]
    with pytest.raises(ValueError, match=r"^sample 4: 8 of the 8 numbers of its z_sem are NaN or infinite"):
        encode_once(tmp_path / "latents.pt", Dataset(broken), tiny_autoencoder, {"a": "1"}, 2, device)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_fits_is_read_and_the_data_set_not_touched(tiny_autoencoder, items, device, tmp_path):
    dataset, path = Counting(items), tmp_path / "new" / "latents.pt"
    first = encode_once(path, dataset, tiny_autoencoder, {"a": "1"}, 2, device)
    assert dataset.asked == 7
    second = encode_once(path, dataset, tiny_autoencoder, {"a": "1"}, 2, device)
    assert dataset.asked == 7
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    encode_once(path, dataset, tiny_autoencoder, {"a": "2"}, 2, device)
    assert dataset.asked == 14
    assert [p.name for p in path.parent.iterdir()] == ["latents.pt"]


@pytest.mark.parametrize("before", [False, True])
def test_an_interrupted_encoding_leaves_nothing_half(tiny_autoencoder, items, device, tmp_path, before):
    path = tmp_path / "latents.pt"
    if before:
        encode_once(path, Dataset(items), tiny_autoencoder, {"a": "1"}, 2, device)
    with pytest.raises(KeyboardInterrupt):
        encode_once(path, Counting(items, broken=5), tiny_autoencoder, {"a": "2"}, 2, device)
    assert [p.name for p in tmp_path.iterdir()] == (["latents.pt"] if before else [])
    if before:
        assert torch.load(path, weights_only=True)["fingerprint"] == {"a": "1"}


@pytest.mark.parametrize("content", [b"", b"no archive at all"])
def test_a_broken_file_is_replaced(tiny_autoencoder, items, device, tmp_path, caplog, content):
    path = tmp_path / "latents.pt"
    path.write_bytes(content)
    with caplog.at_level(logging.INFO, "monai_diffae"):
        result = encode_once(path, Dataset(items), tiny_autoencoder, {}, 2, device)
    assert "cannot be read" in caplog.text
    torch.testing.assert_close(torch.load(path, weights_only=True)["latents"], result, rtol=0, atol=0)


def test_fingerprint_changes_with_each_of_its_parts_and_with_nothing_else(tiny_autoencoder, tmp_path):
    files = [tmp_path / name for name in "abc"]
    for file in files:
        file.write_bytes(b"1")
    data = [{"image": str(file)} for file in files]
    settings = {"factor": 2.0}

    def prepare(item, factor=1.0):
        return {"image": factor * torch.full((1, 2), float(len(item["image"])))}

    def fingerprint(**changes):
        arguments = {"encoder": tiny_autoencoder.encoder, "data": data, "preprocessing": prepare, "settings": settings}
        return encoding_fingerprint(**(arguments | changes))

    first = fingerprint()
    assert fingerprint() == first

    def changed(other):
        return {part for part in first if first[part] != other[part]}

    assert changed(fingerprint(preprocessing=lambda item: prepare(item, 1.5))) == {"preprocessing"}
    assert changed(fingerprint(settings={"factor": 3.0})) == {"settings"}
    assert changed(fingerprint(data=data[:2])) == {"files of the data set"}
    with torch.no_grad():
        tiny_autoencoder.decoder.out[-1].weight.add_(1)
    assert changed(fingerprint()) == set()
    with torch.no_grad():
        next(tiny_autoencoder.encoder.parameters()).add_(1e-3)
    assert changed(fingerprint()) == {"weights of the encoder"}
    files[1].write_bytes(b"22")
    assert changed(fingerprint()) == {"weights of the encoder", "files of the data set"}


def test_which_slices_are_encoded_counts_and_so_do_parameters_that_the_first_and_last_file_do_not_show(
    tiny_autoencoder, tmp_path
):
    for name in "abc":
        (tmp_path / name).write_bytes(b"1")
    data = [{"image": str(tmp_path / name)} for name in "abc"]

    def fingerprint(high: float = 1.0, **slices) -> dict[str, str]:
        """Of images that the range leaves as they are."""
        prepare = Compose([lambda item: {"image": torch.zeros(1, 2)}, ThresholdIntensityd("image", high, above=False)])
        return encoding_fingerprint(tiny_autoencoder.encoder, data, prepare, dataset=VolumeSlices([], **slices))

    first = fingerprint()
    assert fingerprint() == first
    changes = [{"step": 2}, {"min_foreground": 0.1}, {"num_slices": 3}, {"slice_range": (0, 0.5)}, {"high": 2.0}]
    for change in changes:
        part = "preprocessing" if "high" in change else "settings"
        assert {p for p, value in fingerprint(**change).items() if value != first[p]} == {part}, change


def test_a_series_that_gets_another_file_is_encoded_anew(tiny_autoencoder, tmp_path):
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "1.dcm").write_bytes(b"1")
    other = tmp_path / "2.dcm"
    other.write_bytes(b"2")

    def fingerprint() -> str:
        data = [{"image": str(tmp_path / "series")}, {"image": [str(other)]}]
        prepared = encoding_fingerprint(tiny_autoencoder.encoder, data, lambda item: {"image": torch.zeros(1, 2)})
        return prepared["files of the data set"]

    first = fingerprint()
    assert fingerprint() == first
    (tmp_path / "series" / "2.dcm").write_bytes(b"2")
    second = fingerprint()
    other.write_bytes(b"longer")
    assert len({first, second, fingerprint()}) == 3


def stream(batches, count: int) -> dict[str, torch.Tensor]:
    parts = list(islice(batches, -(-count // batches.batch_size)))
    return {key: torch.cat([part[key] for part in parts])[:count] for key in parts[0]}


@pytest.mark.parametrize("num_codes", [5, 1500])
@pytest.mark.parametrize("batch_size", [1, 4, 700])
def test_noise_and_timesteps_do_not_depend_on_batch_size_or_start(num_codes, batch_size):
    codes = torch.randn(num_codes, 3)
    whole = stream(LatentBatches(codes, 64, 1000, seed=3), 2 * num_codes + 700)
    for start in (0, 3, num_codes + 2):
        part = stream(LatentBatches(codes, batch_size, 1000, seed=3, start=start), 700)
        for key, value in part.items():
            assert torch.equal(value, whole[key][start : start + 700]), key
    other = stream(LatentBatches(codes, 64, 1000, seed=4), 700)
    assert not torch.equal(other["noise"], whole["noise"][:700])


def test_every_epoch_has_each_code_once_with_noise_of_its_own():
    codes = torch.arange(1300.0)[:, None].expand(-1, 2)
    batches = stream(LatentBatches(codes, 100, 10, seed=0), 2600)
    epochs = batches["image"][:, 0].reshape(2, 1300)
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, torch.arange(1300.0))
    assert not torch.equal(epochs[0], epochs[1])
    assert len(batches["noise"].unique(dim=0)) == 2600
    assert batches["noise"].mean().abs() < 0.08
    assert batches["noise"].std() == pytest.approx(1, abs=0.05)
    assert batches["timesteps"].unique().tolist() == list(range(10))


def test_processes_share_every_batch():
    codes = torch.arange(10.0)[:, None]
    whole = list(islice(LatentBatches(codes, 6, 100, seed=0, start=12), 5))
    shares = [list(islice(LatentBatches(codes, 6, 100, seed=0, start=12, rank=r, num_replicas=3), 5)) for r in range(3)]
    for k, batch in enumerate(whole):
        for key, value in batch.items():
            together = torch.cat([share[k][key] for share in shares])
            assert len(shares[0][k][key]) == 2
            torch.testing.assert_close(together.sort(dim=0).values, value.sort(dim=0).values, rtol=0, atol=0)


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_workers_of_a_loader_give_every_batch_once_and_in_order(num_workers):
    batches = LatentBatches(torch.arange(10.0)[:, None], 4, 100, seed=0, start=7)
    loader = DataLoader(batches, batch_size=None, num_workers=num_workers)
    for ours, expected in zip(islice(loader, 7), islice(batches, 7), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("batch_size", "rank", "num_replicas"), [(5, 0, 2), (6, 2, 2), (6, 0, 0)])
def test_batches_that_cannot_be_shared_are_refused(batch_size, rank, num_replicas):
    with pytest.raises(ValueError, match=f"got {rank} of {num_replicas}, and {batch_size}"):
        LatentBatches(torch.zeros(4, 3), batch_size, 10, seed=0, rank=rank, num_replicas=num_replicas)


def test_codes_are_told_apart_by_their_fingerprint():
    codes = torch.randn(4, 3)
    fingerprints = {LatentBatches(c, 2, 10, seed=0).fingerprint for c in (codes, codes.clone(), codes + 1e-3)}
    assert len(fingerprints) == 2


@pytest.mark.parametrize(("shape", "batch_size"), [((0, 3), 2), ((4,), 2), ((4, 3), 0)])
def test_codes_that_make_no_batch_are_refused(shape, batch_size):
    with pytest.raises(ValueError, match=r"codes of shape \(N, D\)"):
        LatentBatches(torch.zeros(shape), batch_size, 10, seed=0)


@pytest.mark.parametrize("first", [0, 40])
def test_sample_numbers_carry_the_file_that_they_are_written_to(first):
    data = SampleIndices(3, "out/samples", ".png", first=first)
    assert [int(item["image"]) for item in data] == [first, first + 1, first + 2]
    assert data[1]["image"].meta["filename_or_obj"] == f"out/samples/{first + 1:06d}.png"
    assert data[1]["image"].dtype == torch.int64


@pytest.mark.parametrize(("num_samples", "first"), [(0, 0), (3, -1)])
def test_impossible_numbers_are_refused(num_samples, first):
    with pytest.raises(ValueError, match="num_samples of 1 or more and first of 0 or more"):
        SampleIndices(num_samples, "out", ".png", first=first)
