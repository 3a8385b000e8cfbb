# SPDX-License-Identifier: Apache-2.0
from .official import OfficialCheckpoint as OfficialCheckpoint
from .official import load_official_checkpoint as load_official_checkpoint
