# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
import sys
from typing import Any, TypeVar

import torch.nn as nn

__all__ = ["compile_network"]

Network = TypeVar("Network", bound=nn.Module)


def compile_network(network: Network, enabled: bool | str = True, **options: Any) -> Network:
    """Let ``torch.compile`` make the parts of a network faster, in place, for training and inference.

    Of an autoencoder the parts (``encoder`` and ``decoder``) are compiled, not the whole: encoding alone is, too.
    Names of parameters stay as they are; a copy, such as a moving average, is not compiled. The first call of each
    part compiles, which takes long, and so do the first ones with a second batch size and in training after inference.

    Args:
        network: a :class:`~monai_diffae.networks.DiffusionAutoencoder` or another module, on its device.
        enabled: ``False`` to do nothing; or the words ``true`` and ``false``, as a command line gives them.
        options: of ``torch.compile``.

    Returns:
        ``network`` itself.

    Raises:
        ValueError: for another value of ``enabled``.
        RuntimeError: where there is no C++ compiler, which ``torch.compile`` needs (its default backend).
    """
    if str(enabled).lower() not in ("true", "false"):
        raise ValueError(f"compile must be true or false, got {enabled!r}.")
    if str(enabled).lower() == "false":
        return network
    compiler = os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"))
    if "backend" not in options and shutil.which(compiler) is None:
        raise RuntimeError(
            f"compile=true needs a C++ compiler, and there is no {compiler!r}: install one (on Debian and Ubuntu: "
            "apt-get install g++), name it in the environment variable CXX, or take compile=false."
        )
    for part in [getattr(network, name) for name in ("encoder", "decoder") if hasattr(network, name)] or [network]:
        part.compile(**options)
    return network
