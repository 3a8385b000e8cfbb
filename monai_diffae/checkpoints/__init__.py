# SPDX-License-Identifier: Apache-2.0
from .monai_generative import load_monai_generative_checkpoint as load_monai_generative_checkpoint
from .official import OfficialCheckpoint as OfficialCheckpoint
from .official import load_official_checkpoint as load_official_checkpoint
from .weights import load_weights as load_weights
from .weights_loader import WeightsLoader as WeightsLoader
