# SPDX-License-Identifier: Apache-2.0
"""Diffusion Autoencoders for MONAI: networks, an invertible DDIM scheduler, inferers and bundles."""

from . import batch_size as batch_size
from . import checkpoints as checkpoints
from . import data as data
from . import engines as engines
from . import handlers as handlers
from . import inferers as inferers
from . import losses as losses
from . import networks as networks
from . import processes as processes
from . import root_cause as root_cause
from . import schedulers as schedulers
from . import semantics as semantics

__version__ = "0.1.0"
