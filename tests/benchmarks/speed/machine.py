# SPDX-License-Identifier: Apache-2.0
"""Which machine a table is of."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import monai
import torch

__all__ = ["description"]


def description(device: torch.device) -> dict[str, str]:
    """Names and versions, without the name of the host."""
    found = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "monai": monai.__version__,
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["tf32"] = (
            f"convolutions {torch.backends.cudnn.allow_tf32}, products {torch.backends.cuda.matmul.allow_tf32}"
        )
    else:
        found["instructions"] = torch.backends.cpu.get_cpu_capability()
    return found


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
