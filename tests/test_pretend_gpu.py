# SPDX-License-Identifier: Apache-2.0
"""What the pretended GPU refuses and counts, as a GPU does."""

from __future__ import annotations

import pytest
import torch
from pretend_gpu import PretendedGPU, on_pretended_gpu


@on_pretended_gpu
def test_tensors_of_two_devices_do_not_meet(gpu: PretendedGPU):
    x = gpu.move(torch.ones(3))
    with gpu:
        with pytest.raises(RuntimeError, match="on the same device, but found gpu:0 and cpu"):
            x + torch.ones(3)
        with pytest.raises(RuntimeError, match="device type for generator"):
            torch.randn(2, device="gpu", generator=torch.Generator())
        with pytest.raises(TypeError, match="can't convert gpu:0"):
            x.numpy()
        assert (x + 1).device.type == "gpu"
        assert gpu.copies.total() == 0


@on_pretended_gpu
def test_copies_and_reads_are_counted(gpu: PretendedGPU):
    x = gpu.move(torch.arange(4.0))
    for operation, waits, copies_to_gpu in [
        (lambda: float(x.sum()), 1, 0),
        (lambda: x.tolist(), 1, 0),
        (lambda: bool((x > 2).any()), 1, 0),
        (lambda: x[x > 2], 1, 0),
        (lambda: torch.nonzero(x), 1, 0),
        (lambda: x.cpu(), 1, 0),
        (lambda: torch.zeros(4).copy_(x), 1, 0),
        (lambda: torch.zeros(4).to("gpu"), 0, 1),
        (lambda: torch.tensor([1, 2], device="gpu"), 0, 1),
        (lambda: torch.where(x > 2, x, -x) * x[gpu.move(torch.tensor([0, 1, 2, 2]))], 0, 1),
        (lambda: torch.zeros(4, device="gpu") + x, 0, 0),
    ]:
        gpu.copies.clear()
        with gpu:
            operation()
        assert (gpu.waits, gpu.copies_to_gpu) == (waits, copies_to_gpu)


@on_pretended_gpu
def test_networks_train_on_it(gpu: PretendedGPU):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(3, 1) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.ones(2, 3)
    for layer, inputs in ((layers[0], x), (gpu.move(layers[1]), gpu.move(x))):
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, foreach=False)
        with gpu:
            layer(inputs).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(layers[1].weight.held, layers[0].weight.detach())
