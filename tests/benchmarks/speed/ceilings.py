# SPDX-License-Identifier: Apache-2.0
"""What the machine does at best: the floating-point operations a second of large convolutions and matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .clock import Timing, alternate

__all__ = ["measure_ceilings"]


def measure_ceilings(
    device: torch.device, rounds: int, seconds_left: float, size: int = 1024
) -> dict[tuple[str, str], tuple[float, Timing]]:
    """GFLOP/s and timing of each operation in each precision: ``(operation, precision)``.

    Args:
        device: where.
        rounds: of alternating runs.
        seconds_left: see :func:`~speed.clock.alternate`.
        size: of the matrices; the convolution is 3x3 on 16 feature maps of 256 channels and a side of ``size / 32``.
    """
    calls, operations = {}, {}
    side = size // 32
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        generator = torch.Generator().manual_seed(0)
        a, b = (torch.randn(size, size, generator=generator).to(device, dtype) for _ in range(2))
        x = torch.randn(16, 256, side, side, generator=generator).to(device, dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        kernel = torch.randn(256, 256, 3, 3, generator=generator).to(device, dtype)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        calls["matrix product", precision] = lambda a=a, b=b: a @ b
        operations["matrix product", precision] = 2 * size**3
        calls["convolution", precision] = lambda x=x, kernel=kernel: F.conv2d(x, kernel, padding=1)
        operations["convolution", precision] = 2 * 16 * side**2 * 256 * 256 * 9
    with torch.inference_mode():
        for call in calls.values():
            call()
        timings = alternate(calls, device, rounds, seconds_left)
    return {key: (operations[key] / timing.median / 1e9, timing) for key, timing in timings.items()}
