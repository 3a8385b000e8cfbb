# SPDX-License-Identifier: Apache-2.0
"""TF32 is off where float32 is promised. The settings can be read without a GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.support.precision import full_float32, mixed_precision
from monai_diffae.training import DiffusionTrainer

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def tf32() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def allow(convolutions: bool, products: bool) -> None:
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


@pytest.fixture(autouse=True, params=[(True, True), (True, False)], ids=["all TF32", "PyTorch's default"])
def before(request) -> Iterator[tuple[bool, bool]]:
    """The settings of a user, where those of the tests forbid TF32."""
    allow(*request.param)
    yield request.param
    allow(False, False)


def test_float32_is_in_full_on_gpus_and_the_setting_comes_back(before):
    with mixed_precision("float32", CUDA):
        assert tf32() == (False, False)
        with full_float32(CUDA):
            assert tf32() == (False, False)
        assert tf32() == (False, False)
    assert tf32() == before
    with pytest.raises(KeyError), full_float32(CUDA):
        raise KeyError
    assert tf32() == before


def test_nothing_changes_on_other_devices(before):
    with mixed_precision("float32", CPU):
        assert tf32() == before


def test_it_comes_back_when_the_last_thread_has_left(before):
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with full_float32(CUDA):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with full_float32(CUDA):
        thread.start()
        entered.wait(10)
    assert tf32() == (False, False)
    leave.set()
    thread.join()
    assert tf32() == before


def test_flags_of_the_newer_kind_do_not_stop_it():
    conv = getattr(torch.backends.cudnn, "conv", None)
    if conv is None:
        pytest.skip("PyTorch before 2.9 has one kind of flags")
    conv.fp32_precision = "ieee"
    with full_float32(CUDA):
        assert tf32() == (False, False)
    assert conv.fp32_precision != "tf32"


def test_training_and_inference_ask_for_it(tiny_autoencoder, device, monkeypatch):
    """What they run under, on any device: the setting is asked for by the device's name alone."""
    asked = []
    for module in ("monai_diffae.support.precision", "monai_diffae.training.diffusion_training"):
        monkeypatch.setattr(f"{module}.full_float32", lambda d: asked.append(str(d)) or full_float32(CUDA))
    seen = []
    tiny_autoencoder.decoder.register_forward_hook(lambda *_: seen.append(tf32()))
    tiny_autoencoder.encoder.register_forward_hook(lambda *_: seen.append(tf32()))
    x = torch.zeros(2, 1, 8, 8, device=device)
    loops = DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), 2, verbose=False)
    loops.decode(
        loops.encode(x, tiny_autoencoder), loops.invert(x, tiny_autoencoder, torch.zeros(2, 8)), tiny_autoencoder
    )
    assert set(seen) == {(False, False)}
    assert len(seen) == 5
    backward = []

    class Loss(torch.nn.Module):
        def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            prediction.register_hook(lambda gradient: backward.append(tf32()))
            return (prediction - target).square().mean()

    trainer = DiffusionTrainer(
        device=device,
        max_epochs=1,
        train_data_loader=[{"image": x, "label": x}],
        network=tiny_autoencoder,
        optimizer=torch.optim.SGD(tiny_autoencoder.parameters(), lr=0.1),
        loss_function=Loss(),
        inferer=lambda images, network: network(images, torch.zeros(2, dtype=torch.long, device=device), image=images),
        decollate=False,
    )
    trainer.run()
    assert backward == [(False, False)]
