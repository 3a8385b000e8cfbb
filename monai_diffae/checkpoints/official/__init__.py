# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the paper's authors (https://github.com/phizaz/diffae), read without their code or Lightning.

As a command it converts one: ``python -m monai_diffae.checkpoints.official last.ckpt --output_dir DIR``.
"""

from .loading import OfficialCheckpoint as OfficialCheckpoint
from .loading import load_official_checkpoint as load_official_checkpoint
