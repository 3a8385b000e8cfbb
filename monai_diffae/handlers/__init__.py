# SPDX-License-Identifier: Apache-2.0
from .gradient_clipping import GradientClippingHandler as GradientClippingHandler
from .resume import find_last_checkpoint as find_last_checkpoint
from .resume import resume_training as resume_training
from .resume import run_to_end as run_to_end
from .training_log import TrainingLogSaver as TrainingLogSaver
