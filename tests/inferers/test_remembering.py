# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer

from monai_diffae.inferers import (
    DiffusionAutoencoderInferer,
    InterpolationInferer,
    ReconstructionInferer,
    RememberingInferer,
    SlicewiseInferer,
    WindowedInferer,
)
from monai_diffae.schedulers import InvertibleDDIMScheduler


def reconstruction(steps: int = 2, x_T: str = "encode", verbose: bool = False) -> ReconstructionInferer:
    return ReconstructionInferer(
        DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), num_inference_steps=steps, verbose=verbose), x_T
    )


@pytest.fixture
def images(device) -> MetaTensor:
    pixels = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return MetaTensor(pixels.to(device), meta={"filename_or_obj": "a.nii"})


class Counting(ReconstructionInferer):
    """Counts the images that it is given."""

    def predict(self, inputs, network):
        counted.append(len(inputs))
        return super().predict(inputs, network)


counted: list[int] = []


@pytest.fixture(autouse=True)
def _from_zero() -> None:
    counted.clear()


def remembering(folder: Path, enabled: bool = True, **settings) -> RememberingInferer:
    inferer = reconstruction(**settings)
    inferer.__class__ = Counting
    return RememberingInferer(inferer, folder, enabled)


def test_results_are_those_of_the_inferer_whether_computed_or_remembered(tiny_autoencoder, images, tmp_path):
    expected = reconstruction().predict(images, tiny_autoencoder)
    for _ in range(2):
        found = remembering(tmp_path).predict(images, tiny_autoencoder)
        assert set(found) == set(expected)
        for key, value in expected.items():
            torch.testing.assert_close(
                torch.as_tensor(found[key]), torch.as_tensor(value), rtol=1e-4, atol=1e-5, equal_nan=True
            )
            assert isinstance(found[key], MetaTensor) == isinstance(value, MetaTensor)
            assert found[key].device == value.device
        assert found["reconstruction"].meta["filename_or_obj"] == "a.nii"
    assert counted == [5]


def test_only_what_is_missing_is_computed_in_whatever_batches(tiny_autoencoder, images, tmp_path):
    remembering(tmp_path).predict(images[:2], tiny_autoencoder)
    found = remembering(tmp_path).predict(images[torch.tensor([3, 1, 4, 0])], tiny_autoencoder)
    assert counted == [2, 2]
    expected = reconstruction().predict(images, tiny_autoencoder)["z_sem"][[3, 1, 4, 0]]
    torch.testing.assert_close(found["z_sem"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{"steps": 3}, {"x_T": "random"}])
def test_other_settings_are_computed_anew(tiny_autoencoder, images, tmp_path, settings):
    remembering(tmp_path).predict(images, tiny_autoencoder)
    remembering(tmp_path, **settings).predict(images, tiny_autoencoder)
    remembering(tmp_path, verbose=True).predict(images, tiny_autoencoder)
    assert counted == [5, 5]


def test_other_weights_are_computed_anew_in_the_same_network_too(tiny_autoencoder, images, tmp_path):
    network, inferer = copy.deepcopy(tiny_autoencoder), remembering(tmp_path)
    inferer.predict(images, network)
    with torch.no_grad():
        next(network.decoder.parameters()).add_(0.1)
    inferer.predict(images, network)
    network.load_state_dict(tiny_autoencoder.state_dict())
    inferer.predict(images, network)
    assert counted == [5, 5]


def test_damaged_files_are_computed_anew_and_no_half_ones_are_left(tiny_autoencoder, images, tmp_path):
    remembering(tmp_path).predict(images, tiny_autoencoder)
    files = sorted(tmp_path.iterdir())
    assert [file.suffix for file in files] == [".pt"] * 5
    files[0].write_bytes(files[0].read_bytes()[:100])
    remembering(tmp_path).predict(images, tiny_autoencoder)
    assert counted == [5, 1]


def test_nothing_is_kept_where_it_is_not_enabled(tiny_autoencoder, images, tmp_path):
    for _ in range(2):
        remembering(tmp_path / "none", enabled=False).predict(images, tiny_autoencoder)
    assert counted == [5, 5]
    assert not (tmp_path / "none").exists()


def test_results_of_other_code_are_not_taken(tiny_autoencoder, images, tmp_path, monkeypatch):
    remembering(tmp_path).predict(images, tiny_autoencoder)
    monkeypatch.setattr("monai_diffae.inferers.remembering.code_fingerprint", lambda: "other")
    remembering(tmp_path).predict(images, tiny_autoencoder)
    assert counted == [5, 5]


def test_what_was_remembered_can_be_forgotten_and_nothing_else_is_deleted(tiny_autoencoder, images, tmp_path):
    for name in ("mine", "shared"):
        remembering(tmp_path / name).predict(images, tiny_autoencoder)
    for name in (f".partial.123.{'a' * 64}.pt", f"{'a' * 64}.pt.123.partial"):  # of killed runs, of version 0.1.0 too
        (tmp_path / "mine" / name).touch()
    (tmp_path / "shared" / "model.pt").touch()
    for name in ("mine", "shared", "missing"):
        remembering(tmp_path / name).forget()
    assert [path.name for path in tmp_path.rglob("*")] == ["shared", "model.pt"]
    remembering(tmp_path / "mine").predict(images, tiny_autoencoder)
    assert counted == [5, 5, 5]


def test_further_images_count(tiny_autoencoder, images, tmp_path):
    def line() -> RememberingInferer:
        return RememberingInferer(InterpolationInferer(reconstruction().inferer, num_points=3), tmp_path)

    first = line().predict(images[:2], tiny_autoencoder, inputs_to=images[2:4])["interpolation"]
    other = line().predict(images[:2], tiny_autoencoder, inputs_to=images[3:5])["interpolation"]
    again = line().predict(images[:2], tiny_autoencoder, inputs_to=[images[2:4]])["interpolation"]
    assert first.shape == (2, 3, 1, 8, 8)
    assert (first - other).abs().max() > 1e-3
    torch.testing.assert_close(first, again, rtol=1e-4, atol=1e-5)


def test_a_new_network_is_never_taken_for_one_that_is_gone(tiny_autoencoder, images, tmp_path):
    """The memory of one may become that of the next."""
    inferer = remembering(tmp_path)
    for k in range(8):
        network = copy.deepcopy(tiny_autoencoder)
        for parameter in network.parameters():
            parameter.data.mul_(1 + 0.1 * k)  # which PyTorch does not count as a change
        expected = reconstruction().predict(images[:1], network)
        found = inferer.predict(images[:1], network)
        torch.testing.assert_close(found["z_sem"], expected["z_sem"], rtol=0, atol=0)
        del network
    assert counted == [1] * 8


def test_weights_that_change_behind_pytorchs_back_count(tiny_autoencoder, images, tmp_path):
    network, inferer = copy.deepcopy(tiny_autoencoder), remembering(tmp_path)
    for _ in range(2):
        inferer.predict(images, network)
        next(network.encoder.parameters()).data.add_(1)
    assert counted == [5, 5]


def test_settings_that_change_between_calls_count(tiny_autoencoder, images, tmp_path):
    inferer = remembering(tmp_path)
    inferer.predict(images, tiny_autoencoder)
    inferer.inferer.inferer.num_inference_steps = 5
    found = inferer.predict(images, tiny_autoencoder)
    expected = reconstruction()
    expected.inferer.num_inference_steps = 5
    torch.testing.assert_close(
        found["reconstruction"], expected.predict(images, tiny_autoencoder)["reconstruction"], rtol=0, atol=0
    )
    inferer.inferer.stochastic_code.x_T = "zeros"
    inferer.predict(images, tiny_autoencoder)
    assert counted == [5, 5, 5]


@pytest.mark.parametrize("kind", ["images", "volumes", "windows"])
def test_the_batch_size_does_not_count(tiny_autoencoder, images, tmp_path, kind):
    def inferer(batch_size: int) -> RememberingInferer:
        inner = reconstruction()
        inner.__class__ = Counting
        inner.inferer.batches.size = batch_size
        if kind == "volumes":
            inner = SlicewiseInferer(inner, batch_size)
        if kind == "windows":
            inner = WindowedInferer(inner, SlidingWindowInferer((8, 8), sw_batch_size=batch_size))
        return RememberingInferer(inner, tmp_path)

    inferer(2).predict(images, tiny_autoencoder)
    done = list(counted)
    inferer(3).predict(images, tiny_autoencoder)
    assert counted == done != []


def test_no_more_than_a_part_is_lost(tiny_autoencoder, images, tmp_path):
    whole = remembering(tmp_path / "whole").predict(images, tiny_autoencoder)
    inferer = remembering(tmp_path / "parts")
    inferer.part = 2
    tiny_autoencoder.register_forward_pre_hook(lambda *_: kill() if len(counted) > 3 else None)

    def kill() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inferer.predict(images, tiny_autoencoder)  # in its third part
    assert len(list((tmp_path / "parts").iterdir())) == 4
    tiny_autoencoder._forward_pre_hooks.clear()
    counted.clear()
    found = inferer.predict(images, tiny_autoencoder)
    assert counted == [1]
    torch.testing.assert_close(found["z_sem"], whole["z_sem"], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="part must be 1 or more, got 0"):
        RememberingInferer(reconstruction(), tmp_path, part=0)
