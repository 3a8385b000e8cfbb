# SPDX-License-Identifier: Apache-2.0
from .classifiers import open_classifier as open_classifier
from .monai_generative import load_monai_generative_checkpoint as load_monai_generative_checkpoint
from .official import OfficialCheckpoint as OfficialCheckpoint
from .official import load_official_checkpoint as load_official_checkpoint
from .stage_1 import load_stage_1 as load_stage_1
from .weights import load_weights as load_weights
from .weights_loader import WeightsLoader as WeightsLoader
