# SPDX-License-Identifier: Apache-2.0
from .attributes import AttributeFitter as AttributeFitter
from .ema_warm_up import EMAWarmUp as EMAWarmUp
from .figures import FigureSaver as FigureSaver
from .gradient_clipping import GradientClippingHandler as GradientClippingHandler
from .gradient_norm import GradientNormRecorder as GradientNormRecorder
from .initial_weights import load_initial_weights as load_initial_weights
from .montage import MontageSaver as MontageSaver
from .picture_series import PictureSeriesSaver as PictureSeriesSaver
from .resume import find_last_checkpoint as find_last_checkpoint
from .resume import resume_training as resume_training
from .resume import run_to_end as run_to_end
from .semantic_gap import SemanticGap as SemanticGap
from .semantic_gap import SemanticGapWarning as SemanticGapWarning
from .slice_volumes import SliceVolumeSaver as SliceVolumeSaver
from .tables import EditsTableSaver as EditsTableSaver
from .tables import LatentsTableSaver as LatentsTableSaver
from .training_log import TrainingLogSaver as TrainingLogSaver
